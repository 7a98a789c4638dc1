//! Textual inversions and prompts against transformers and the published rules.

use std::path::Path;

use burn::tensor::Device;
use clarifier_model::clip::ClipTextEncoder;
use clarifier_model::embedding::Embedding;
use clarifier_model::files::{Component, component};
use clarifier_model::loader::{Placement, Weights};
use clarifier_model::tokenizer::{BOS, ClipTokenizer, EOS, Prompt};
use clarifier_tests::models::{Scale, write_diffusers};
use clarifier_tests::weights::{Stored, data};
use clarifier_tests::{error_in_sigmas, fixture, json, tensors};
use clarifier_upscale::embed;

use crate::adapters::{EFFECT, lora, message, sigma, values};
use crate::networks::TOLERANCE;

fn embeddings() -> Vec<Embedding> {
    let open = |name: &str| Embedding::open(fixture("prompts").join(name)).unwrap();
    ["bad-picture.pt", "bad.pt", "cat_toy.bin", "Neg.v2.safetensors"].map(open).to_vec()
}

#[test]
fn embeddings_of_every_format_are_read() {
    for embedding in embeddings() {
        let name = &embedding.names[0];
        let shape: &[usize] = match name.as_str() {
            "bad-picture" => &[4, 32],
            "bad" => &[2, 32],
            "cat_toy" => &[32],
            _ => &[75, 32],
        };
        let expected: Vec<f32> = data(name, shape).iter().map(|v| v * 0.5).collect();
        assert_eq!(embedding.vectors.concat(), expected, "{name}");
        assert!(embedding.check_width(32).is_ok());
    }
    assert_eq!(embeddings()[2].names, ["cat_toy", "<cat_toy>", "<a-cat>"]);
}

#[test]
fn other_files_are_no_embeddings() {
    let refused = |name: &str| message(Embedding::open(fixture("prompts").join(name)));
    let evil = refused("evil.pt");
    assert!(evil.contains("refused") && evil.contains("system"), "{evil}");
    assert!(!Path::new("clarifier-was-here").exists(), "the pickle was run");
    assert!(refused("sdxl.safetensors").contains("SDXL"));
    let sd2 = Embedding::open(fixture("prompts/sd2.safetensors")).unwrap().check_width(768);
    assert!(message(sd2).contains("made for SD 2.x"));
    let of_lora = message(Embedding::open(fixture("esrgan/lora.safetensors")));
    assert!(of_lora.contains("this is a LoRA"), "{of_lora}");
    let folder = tempfile::tempdir().unwrap();
    let long = lora(folder.path(), &[("emb_params", &[76, 32])]);
    assert!(message(Embedding::open(&long)).contains("76 vectors"));
    let deep = lora(folder.path(), &[("emb_params", &[2, 2, 32])]);
    assert!(message(Embedding::open(&deep)).contains("[2, 2, 32]"));
}

#[test]
fn prompts_are_cut_as_the_fixtures_statement_of_the_rule_does() {
    let (tokenizer, embeddings) = (ClipTokenizer::new(), embeddings());
    let fixture = json("prompts/cases.json");
    for case in fixture["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let chunks = tokenizer.chunks(&Prompt::parse(text), &embeddings);
        let expected = case["chunks"].as_array().unwrap();
        assert_eq!(chunks.len(), expected.len(), "{text:?}");
        for (chunk, expected) in chunks.iter().zip(expected) {
            let places = expected["places"].as_array().unwrap();
            assert_eq!(chunk.ids[0], BOS);
            assert!(chunk.ids[places.len() + 1..].iter().all(|id| *id == EOS), "{text:?}");
            assert!(chunk.weights[places.len() + 1..].iter().all(|w| *w == 1.0), "{text:?}");
            let mut vectors = chunk.vectors.iter();
            for (at, (place, weight)) in (1..).zip(places.iter().zip(expected["weights"].as_array().unwrap()))
            {
                let weight = weight.as_f64().unwrap() as f32;
                assert!((chunk.weights[at] - weight).abs() < 1e-5, "{text:?}, place {at}: {weight}");
                match place["v"].as_array() {
                    None => assert_eq!(u64::from(chunk.ids[at]), place.as_u64().unwrap(), "{text:?}, {at}"),
                    Some(vector) => {
                        let name = vector[0].as_str().unwrap();
                        let embedding = embeddings.iter().find(|e| e.names[0] == name).unwrap();
                        let expected = &embedding.vectors[vector[1].as_u64().unwrap() as usize];
                        assert_eq!(vectors.next(), Some(&(at, expected.clone())), "{text:?}");
                    }
                }
            }
            assert_eq!(vectors.next(), None, "{text:?}");
        }
    }
}

#[test]
fn a_weighted_prompt_of_several_chunks_with_embeddings_matches_transformers() {
    let folder = tempfile::tempdir().unwrap();
    write_diffusers(folder.path(), Scale::Tiny, Stored::F32);
    let part = component(folder.path(), Component::TextEncoder).unwrap();
    let placement = Placement::f32(&Device::flex());
    let weights = Weights::new(&*part.file, "clip", &placement);
    let encoder = ClipTextEncoder::load(weights, part.config.as_ref()).unwrap();
    let cases = json("prompts/cases.json");
    let reference = tensors("prompts/embedding.safetensors").read("embedding").unwrap();
    let sigma = sigma(&reference);
    let tokenizer = ClipTokenizer::new();
    let prompt = Prompt::parse(cases["main"].as_str().unwrap());
    let embedded = |embeddings: &[Embedding]| {
        let mut chunks = tokenizer.chunks(&prompt, embeddings);
        chunks.truncate(reference.len() / (77 * 32));
        values(pollster::block_on(embed(&encoder, &chunks)).unwrap())
    };
    let error = error_in_sigmas(&embedded(&embeddings()), &reference, sigma);
    println!("{} chunks: {error:.2e} σ", reference.len() / (77 * 32));
    assert!(error <= TOLERANCE, "{error} σ");
    let without = error_in_sigmas(&embedded(&[]), &reference, sigma);
    assert!(without > EFFECT, "the embeddings do next to nothing: {without} σ");
}
