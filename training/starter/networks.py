"""The four networks: SD 1.5's architectures, small, with more latent channels."""

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENTS = 64
"""Channels of the latent. The best 32 linear ones of an 8 × 8 block give the Kodak pictures back at 31 dB, the best 64 at 37; with SD 1.5's four,
a small autoencoder stays below 27."""
TEXT = 48
CHANNELS = (64, 96, 144, 144)
DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
"""No attention at full resolution: there it would take most of the time."""
UNET = dict(in_channels=LATENTS, block_out_channels=CHANNELS, layers_per_block=1, down_block_types=DOWN,
            cross_attention_dim=TEXT, attention_head_dim=4, norm_num_groups=8)


def autoencoder() -> AutoencoderKL:
    channels = (24, 40, 80, 160)
    return AutoencoderKL(in_channels=3, out_channels=3, latent_channels=LATENTS, block_out_channels=channels,
                         layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 4,
                         up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, mid_block_add_attention=False)


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(out_channels=LATENTS, up_block_types=UP, **UNET)


def controlnet() -> ControlNetModel:
    # Half as many are fewer than the values that a quarter of the hint's side has, and what they leave out is lost.
    return ControlNetModel(conditioning_embedding_out_channels=(16, 32, 64, 128), **UNET)


def text_encoder() -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(hidden_size=TEXT, intermediate_size=4 * TEXT, num_hidden_layers=2,
                                        num_attention_heads=4, vocab_size=49408, max_position_embeddings=77,
                                        hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407))
