//! The software bill of materials: CycloneDX 1.5 in JSON.

use serde_json::{Value, json};

use super::dependencies::{Crate, Id, Tree};
use super::{DESCRIPTION, LICENSE, Outcome, REPOSITORY, VERSION, hash};

/// List every crate with version, licence, package URL and checksum. Crates that only the build runs have the scope `excluded`.
pub fn cyclonedx(tree: &Tree, program: &str) -> Outcome<String> {
    let components: Vec<Value> =
        tree.crates.iter().filter(|(id, _)| **id != tree.root).map(|(id, one)| component(id, one)).collect();
    let dependencies: Vec<Value> = tree
        .crates
        .iter()
        .map(|(id, one)| json!({ "ref": reference(id), "dependsOn": one.needs.iter().map(reference).collect::<Vec<_>>() }))
        .collect();
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial(program),
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "cargo xtask dist", "version": VERSION }] },
            "component": {
                "type": "application",
                "bom-ref": reference(&tree.root),
                "name": "clarifier",
                "version": VERSION,
                "description": DESCRIPTION,
                "licenses": [{ "expression": LICENSE }],
                "hashes": [{ "alg": "SHA-256", "content": program }],
                "externalReferences": [{ "type": "vcs", "url": REPOSITORY }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn component(id: &Id, one: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(id),
        "name": id.0,
        "version": id.1,
        "scope": if one.linked { "required" } else { "excluded" },
    });
    if !one.license.is_empty() {
        component["licenses"] = json!([{ "expression": one.license }]);
    }
    // Crates of this workspace are in no registry.
    if let Some(checksum) = &one.checksum {
        component["purl"] = reference(id).into();
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// The package URL, which also is the name inside this file. A build's `+` is written `%2B`.
fn reference((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

/// A UUID from the program's hash, so that the same program has the same bill.
fn serial(program: &str) -> String {
    let digits = hash(format!("clarifier sbom {program}").as_bytes());
    // The 8 says that the UUID was made by a rule of our own, the `a` that it is an ordinary one.
    format!(
        "urn:uuid:{}-{}-8{}-a{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
        &digits[20..32]
    )
}
