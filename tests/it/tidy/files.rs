//! Which files belong to the project, and reading them.

use std::fs;
use std::path::{Path, PathBuf};

/// Built, installed or run things beside the sources.
const NOT_OURS: [&str; 5] = ["target", ".git", ".tools", "node_modules", "proptest-regressions"];

/// One file of the project with its path from the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Shell scripts by name or by their first line.
    pub(crate) fn is_script(&self) -> bool {
        self.is("sh") || self.text.starts_with("#!")
    }

    pub(crate) fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the member lies in the workspace").to_path_buf()
}

/// Every text file of the project, in the order of their paths.
pub(crate) fn all() -> Vec<File> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let files: Vec<File> = paths
        .into_iter()
        .filter_map(|path| {
            // What is not text is nobody's prose or program.
            let text = fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(&root).expect("walked from there");
            Some(File { path: path.to_string_lossy().into_owned(), text })
        })
        .collect();
    assert!(files.len() > 50, "only {} files found below {}", files.len(), root.display());
    files
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder that can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("what it is");
        if NOT_OURS.contains(&name.as_str()) || name.starts_with(".opscenter") {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), paths);
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
}
