//! The Debian package: a Unix archive of two tar archives.

use super::archive::{Entry, ar, tar_gz};
use super::{DESCRIPTION, Outcome, REPOSITORY, VERSION};

/// Address of the maintainer; Debian's policy asks for one, and the project has none yet.
const MAINTAINER: &str = "The Clarifier authors <maintainers@clarifier.invalid>";
const DOC: &str = "./usr/share/doc/clarifier";

/// The parts of a package.
pub struct Package<'a> {
    pub triple: &'a str,
    pub program: &'a [u8],
    pub third_party: Vec<u8>,
    pub mit: Vec<u8>,
    pub changelog: Vec<u8>,
}

/// File name of a target's package.
pub fn file_name(triple: &str) -> String {
    format!("clarifier_{}_{}.deb", version(), architecture(triple))
}

impl Package<'_> {
    /// The package as a file.
    pub fn bytes(self) -> Outcome<Vec<u8>> {
        let control = self.control();
        let data = [
            Entry::folder("./usr"),
            Entry::folder("./usr/bin"),
            Entry::program("./usr/bin/clarifier", self.program.to_vec()),
            Entry::folder("./usr/share"),
            Entry::folder("./usr/share/doc"),
            Entry::folder(DOC),
            Entry::file(format!("{DOC}/copyright"), copyright(&self.mit)?.into_bytes()),
            Entry::file(format!("{DOC}/CHANGELOG.md"), self.changelog),
            Entry::file(format!("{DOC}/THIRD-PARTY.txt"), self.third_party),
        ];
        let control = tar_gz(vec![Entry::folder("."), Entry::file("./control", control.into_bytes())])?;
        let data = tar_gz(std::iter::once(Entry::folder(".")).chain(data).collect())?;
        ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)])
    }

    fn control(&self) -> String {
        let size = [self.program, &self.third_party, &self.mit, &self.changelog]
            .iter()
            .map(|part| part.len())
            .sum::<usize>();
        let mut depends =
            vec![glibc(self.program).map_or("libc6".to_owned(), |minor| format!("libc6 (>= 2.{minor})"))];
        if contains(self.program, b"libgcc_s.so.1") {
            depends.push("libgcc-s1".to_owned());
        }
        format!(
            "Package: clarifier\n\
             Version: {}\n\
             Architecture: {}\n\
             Maintainer: {MAINTAINER}\n\
             Installed-Size: {}\n\
             Depends: {}\n\
             Recommends: libvulkan1\n\
             Suggests: mesa-vulkan-drivers\n\
             Section: graphics\n\
             Priority: optional\n\
             Homepage: {REPOSITORY}\n\
             Description: {DESCRIPTION}\n \
             A program for the terminal that runs Stable Diffusion 1.5 or its built-in\n \
             networks over overlapping tiles, on a GPU through Vulkan or on the processor.\n \
             Nothing is uploaded.\n",
            version(),
            architecture(self.triple),
            size.div_ceil(1024),
            depends.join(", "),
        )
    }
}

/// Debian's version: a `~` sorts what precedes a release before it, as `-` does for Cargo.
fn version() -> String {
    format!("{}-1", VERSION.replace('-', "~"))
}

fn architecture(triple: &str) -> &'static str {
    if triple.starts_with("aarch64") { "arm64" } else { "amd64" }
}

/// The newest minor version of glibc 2 that the program asks for, from the names in its symbol table.
fn glibc(program: &[u8]) -> Option<u32> {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let starts = program.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let minors = starts.filter_map(|(at, _)| {
        let digits = program[at + PREFIX.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.map(|digit| char::from(*digit)).collect::<String>().parse().ok()
    });
    minors.max()
}

fn contains(program: &[u8], name: &[u8]) -> bool {
    program.windows(name.len()).any(|window| window == name)
}

/// Debian's machine-readable copyright file. Debian ships the text of Apache-2.0, so it is named and not repeated.
fn copyright(mit: &[u8]) -> Outcome<String> {
    let mit = std::str::from_utf8(mit)?;
    let holder = mit
        .lines()
        .find_map(|line| line.strip_prefix("Copyright (c) "))
        .ok_or("LICENSE-MIT names no holder")?;
    let indented: Vec<String> = mit
        .trim_end()
        .lines()
        .map(|line| if line.is_empty() { " .".to_owned() } else { format!(" {line}") })
        .collect();
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: clarifier\n\
         Source: {REPOSITORY}\n\
         Comment: THIRD-PARTY.txt in this folder lists the crates in the program and their licences.\n\n\
         Files: *\n\
         Copyright: {holder}\n\
         License: MIT or Apache-2.0\n\n\
         License: MIT\n\
         {}\n\n\
         License: Apache-2.0\n \
         The text is in /usr/share/common-licenses/Apache-2.0.\n",
        indented.join("\n"),
    ))
}
