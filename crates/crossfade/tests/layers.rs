//! Holds the workspace to the layer table of ARCHITECTURE.md.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The layer of each crate, as the table says.
fn table(text: &str) -> BTreeMap<String, u32> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let layer = cells.next()?.parse().ok()?;
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), layer))
    });
    rows.collect()
}

/// The workspace crates that a manifest depends on outside its tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if let Some((name, _)) = line.split_once(".workspace").filter(|_| inside) {
            found.push(name.trim().to_owned());
        }
    }
    found
}

#[test]
fn every_crate_depends_only_on_lower_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let layers = table(&fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    assert!(layers.len() >= 14, "the table was found: {layers:?}");
    let mut wrong = Vec::new();
    let mut crates = Vec::new();
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let directory = entry.unwrap();
        let name = directory.file_name().into_string().unwrap();
        let Ok(manifest) = fs::read_to_string(directory.path().join("Cargo.toml")) else { continue };
        let Some(layer) = layers.get(&name) else {
            wrong.push(format!("`{name}` is not in the table"));
            continue;
        };
        for dependency in dependencies(&manifest) {
            if layers.get(&dependency).is_some_and(|lower| lower >= layer) {
                wrong.push(format!(
                    "`{name}` (layer {layer}) depends on `{dependency}` (layer {})",
                    layers[&dependency]
                ));
            }
        }
        crates.push(name);
    }
    wrong.extend(layers.keys().filter(|name| !crates.contains(name)).map(|name| format!("there is no crate `{name}`")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_check_itself_sees_a_dependency() {
    let manifest = "[dependencies]\notlp.workspace = true\n[dev-dependencies]\nload.workspace = true\n";
    assert_eq!(dependencies(manifest), ["otlp"]);
    assert_eq!(table("| 0 | `otlp` | does | never |"), BTreeMap::from([("otlp".to_owned(), 0)]));
}
