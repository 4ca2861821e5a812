//! Lists the test sets, or checks every image of them.

use anyhow::bail;
use mint_datasets::{FolderError, ImageSet, Source, TestSet};

use crate::args::{DatasetsAction, DatasetsArgs};
use crate::output;

/// Prints one line per test set; with `doctor`, also every image that cannot be used.
pub fn run(args: &DatasetsArgs) -> anyhow::Result<()> {
    let mut damaged = 0;
    for set in TestSet::ALL {
        let name = format!("{}  {:16}", set.id(), set.title());
        match set.find(&args.data) {
            Ok(found) => {
                output::result(&format!("{name} {}", describe(&found)));
                if args.action == Some(DatasetsAction::Doctor) {
                    damaged += examine(&found);
                }
            }
            Err(FolderError::NotFound { .. }) => {
                output::result(&format!(
                    "{name} not in `{}`: {}",
                    args.data.display(),
                    set.origin()
                ));
            }
            Err(error) => output::result(&format!("{name} cannot be used: {error}")),
        }
    }
    if damaged > 0 {
        let images = output::counted(damaged as u64, "image");
        bail!("{images} cannot be used; replace them, or runs will skip them");
    }
    Ok(())
}

fn describe(set: &ImageSet) -> String {
    let folder = match &set.source {
        Source::Folder(folder) => format!("`{}`", folder.display()),
        Source::Embedded(_) => "embedded".to_owned(),
    };
    let warnings = set.warnings.iter().map(|warning| format!(", {warning}")).collect::<String>();
    format!("{folder}, {} images{warnings}", set.images.len())
}

/// Decodes every image; returns the number of those that cannot be used.
fn examine(set: &ImageSet) -> usize {
    let mut damaged = 0;
    for index in 0..set.images.len() {
        if let Err(error) = set.load(index) {
            damaged += 1;
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            output::result(&format!("   {error}{}", cause.unwrap_or_default()));
        }
    }
    damaged
}
