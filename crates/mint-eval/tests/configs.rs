//! The files in `configs/`.

use std::fs;
use std::path::Path;

use mint_eval::{MethodId, RunConfig};

#[test]
fn the_config_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let file = entry.expect("a file").path();
        let name = file.file_name().expect("a name").to_string_lossy();
        if name.starts_with("bench-") {
            continue; // a sweep, not a run
        }
        let text = fs::read_to_string(&file).expect("the file can be read");
        let config: RunConfig =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if file.ends_with("mint.toml") {
            assert_eq!(config, RunConfig::default(), "every value is the default");
        }
        files += 1;
    }
    assert_eq!(files, 35);
}

/// Each file is one row, and spells out what the row has by default.
#[test]
fn a_row_run_alone_is_the_row_of_all_methods() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    for method in MethodId::all() {
        let file = folder.join(format!("{}.toml", method.name()));
        let text = fs::read_to_string(&file).expect("each method has a file");
        let config: RunConfig = toml::from_str(&text).expect("the file is valid");
        let mut all = RunConfig { methods: vec![method], ..RunConfig::default() };
        // The default, three quarters of the blocks, is written as a number.
        all.sar.adapted_blocks = config.sar.adapted_blocks;
        assert_eq!(config, all, "{}", method.name());
    }
}
