//! The engine's messages in the program's words: its options, and what to try.

use clarifier_upscale::{Event, Remedy, remedies, subject};

/// The message with options in the place of the engine's names of settings and inputs.
pub fn with_options(message: &str) -> String {
    subject::rename(message, |name| Some(option(name)))
}

/// The option of a setting or input.
pub fn option(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// The error with its causes, and what may help.
pub fn of_error(error: &anyhow::Error) -> String {
    let message = with_options(&of_causes(error));
    let tries: Vec<_> = remedies(error.as_ref()).iter().filter_map(|remedy| attempt(*remedy)).collect();
    if tries.is_empty() { message } else { format!("{message}; try {}", tries.join(", or ")) }
}

/// The error and its causes, each once: some errors have their cause's words in their own.
fn of_causes(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// The options that do it; none where the message itself says what to do.
fn attempt(remedy: Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::UseCpu => Some("--device cpu"),
        Remedy::SmallerTiles => Some("smaller tiles (--tile-width, --tile-height, --vae-tile)"),
        Remedy::UseF32 => Some("--precision f32"),
        Remedy::AutoPrecision => Some("--precision auto"),
        Remedy::OtherModels => None,
    }
}

/// The engine's event; a warning names options.
pub fn of_event(event: Event) -> Event {
    match event {
        Event::Warning { message } => Event::Warning { message: with_options(&message) },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use clarifier_upscale::device::DeviceError;
    use clarifier_upscale::{Error, Settings};

    use super::*;

    #[test]
    fn errors_name_options_and_what_to_try() {
        let overlap = Settings { tile_overlap: 16, tile_width: 12, ..Settings::default() };
        let error = anyhow::Error::from(Error::from(overlap.validate().unwrap_err())).context("a.png");
        let said = of_error(&error);
        assert!(said.starts_with("a.png: --tile-overlap 16 leaves nothing of a tile of 12"), "{said}");
        assert!(said.ends_with("or --tile-width and --tile-height larger"), "{said}");
        let twice =
            clarifier_raster::open("none.png".as_ref(), &clarifier_raster::StoreKind::Memory).err().unwrap();
        assert_eq!(of_error(&twice.into()).matches("o such file").count(), 1);
        let said = of_error(&Error::Device("lost".into()).into());
        assert!(
            said.ends_with("; try --device cpu, or smaller tiles (--tile-width, --tile-height, --vae-tile)"),
            "{said}"
        );
        let said = of_error(&DeviceError::NoF16 { name: "it".into() }.into());
        assert_eq!(
            said,
            "--precision f16: it does not compute in f16; try --precision f32, or --precision auto"
        );
    }
}
