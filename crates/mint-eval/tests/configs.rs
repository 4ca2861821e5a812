//! The files in `configs/`.

use std::fs;
use std::path::Path;

use mint_eval::RunConfig;

#[test]
fn the_config_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let file = entry.expect("a file").path();
        let text = fs::read_to_string(&file).expect("the file can be read");
        let config: RunConfig =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if file.ends_with("mint.toml") {
            assert_eq!(config, RunConfig::default(), "every value is the default");
        }
        files += 1;
    }
    assert_eq!(files, 7);
}
