//! `clarifier upscale` with LoRAs and embeddings: what is said before any model is read.

use crate::{clarifier, demo, stderr};

#[test]
fn names_that_mean_nothing_are_said_with_those_that_do() {
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(demo(), home.path().join("cat.png")).unwrap();
    std::fs::create_dir(home.path().join("loras")).unwrap();
    std::fs::write(home.path().join("loras/good.safetensors"), b"").unwrap();
    let says = |args: &[&str]| {
        let models = ["upscale", "cat.png", "--device", "cpu", "--checkpoint", "sd", "--controlnet", "cn"];
        let output = clarifier(home.path(), &[&models[..], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        stderr(&output)
    };
    let unknown = says(&["--prompt", "a cat <lora:bad:0.5>", "--lora-dir", "loras"]);
    assert!(unknown.contains("there is no LoRA \"bad\": loras has good"), "{unknown}");
    let store = says(&["--negative-prompt", "<lora:more_details:0.5>"]);
    assert!(store.contains("clarifier models pull more_details"), "{store}");
    let twice =
        says(&["--lora", "loras/good.safetensors:0.5", "--prompt", "<lora:good>", "--lora-dir", "loras"]);
    assert!(twice.contains("asked for twice"), "{twice}");
    assert!(says(&["--prompt", "<lora:good:>", "--lora-dir", "loras"]).contains("<lora:good:>"));
    assert!(says(&["--embedding-dir", "nowhere"]).contains("nowhere"));
    // It was found, so the next thing missing is said.
    assert!(says(&["--lora", "good:0.5", "--lora-dir", "loras"]).contains("sd:"));
    let negative = says(&["--negative-prompt", "(juggernautnegative-neg:1.2), ugly"]);
    assert!(negative.contains("clarifier models pull JuggernautNegative-neg"), "{negative}");
    assert!(!says(&["--negative-prompt", "juggernaut"]).contains("models pull"));
    // Without diffusion models a LoRA is not passed over in silence.
    let output = clarifier(home.path(), &["upscale", "cat.png", "--lora", "good.safetensors"]);
    assert!(stderr(&output).contains("there is no checkpoint"), "{}", stderr(&output));
    // Nor with the starter set, which it does not fit.
    for option in [["--lora", "loras/good.safetensors"], ["--prompt", "a cat <lora:more_details:0.5>"]] {
        let output = clarifier(
            home.path(),
            &[&["upscale", "cat.png", "--device", "cpu", "--checkpoint", "starter"], &option[..]].concat(),
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("do not fit the starter set"), "{option:?}: {}", stderr(&output));
    }
}
