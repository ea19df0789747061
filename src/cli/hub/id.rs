//! How models on the Hugging Face hub are named: `owner/name[@revision][:QUANT|/file.gguf]`, and short names for some.

/// Short names: each with its repository and its file, none for a checkpoint of several files.
const ALIASES: [(&str, &str, Option<&str>); 5] = [
    ("0.6b-q8", "ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF", Some("qwen3-reranker-0.6b-q8_0.gguf")),
    ("0.6b-q4", "Mungert/Qwen3-Reranker-0.6B-GGUF", Some("Qwen3-Reranker-0.6B-q4_k_m.gguf")),
    ("0.6b", "Qwen/Qwen3-Reranker-0.6B", None),
    ("4b", "Qwen/Qwen3-Reranker-4B", None),
    ("8b", "Qwen/Qwen3-Reranker-8B", None),
];

/// The short names.
pub(crate) fn aliases() -> Vec<&'static str> {
    ALIASES.iter().map(|(alias, ..)| *alias).collect()
}

/// What a model on the hub is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// The repository's only model: a checkpoint, or a single GGUF file.
    Whole,
    /// The GGUF file of this quantisation.
    Quant(String),
    /// This file.
    File(String),
}

/// A model on the hub.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Id {
    pub(crate) repo: String,
    pub(crate) revision: String,
    pub(crate) part: Part,
}

impl Id {
    /// Reads an id or a short name; nothing if the text is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some((_, repo, file)) = ALIASES.iter().find(|(alias, ..)| *alias == text) {
            let part = file.map_or(Part::Whole, |f| Part::File(f.into()));
            return Some(Self { repo: (*repo).into(), revision: "main".into(), part });
        }
        let (owner, rest) = text.split_once('/')?;
        let (name, rest) = rest.split_at(rest.find(['@', ':', '/']).unwrap_or(rest.len()));
        let (revision, rest) = match rest.strip_prefix('@') {
            Some(rest) => {
                // A revision may hold slashes, unless a file follows.
                let stop: &[char] = if is_gguf(rest) { &['/', ':'] } else { &[':'] };
                rest.split_at(rest.find(stop).unwrap_or(rest.len()))
            }
            None => ("main", rest),
        };
        let part = match (rest.strip_prefix(':'), rest.strip_prefix('/')) {
            (Some(quant), _) if is_word(quant) => Part::Quant(quant.into()),
            (_, Some(file)) if is_gguf(file) && is_safe(file) => Part::File(file.into()),
            // A name that ends so is the path of a file that is not there.
            _ if rest.is_empty() && !is_gguf(name) => Part::Whole,
            _ => return None,
        };
        let fits = is_word(owner) && is_word(name) && revision.split('/').all(is_word);
        fits.then(|| Self { repo: format!("{owner}/{name}"), revision: revision.into(), part })
    }
}

/// Letters, digits, `_`, `-` and inner dots, as the hub allows in names. Never a step out of a folder.
pub(super) fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(plain)
}

/// A relative path that stays in its folder, on every system.
pub(super) fn is_safe(path: &str) -> bool {
    let part =
        |p: &str| !p.is_empty() && p != "." && p != ".." && !p.contains(['\\', ':']) && !p.contains(char::is_control);
    path.split('/').all(part)
}

pub(super) fn is_gguf(name: &str) -> bool {
    name.len() > 5 && name.get(name.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(".gguf"))
}

/// The file of a quantisation among a repository's files: one whose name has that word, the shortest first.
pub(super) fn pick_quant<'a>(names: impl Iterator<Item = &'a str>, quant: &str) -> Option<&'a str> {
    let quant = quant.to_lowercase();
    let fits = |name: &&str| {
        is_gguf(name) && name[..name.len() - 5].to_lowercase().split(['/', '.', '-']).any(|word| word == quant)
    };
    names.filter(fits).min_by_key(|name| (name.len(), *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(repo: &str, revision: &str, part: Part) -> Option<Id> {
        Some(Id { repo: repo.into(), revision: revision.into(), part })
    }

    #[test]
    fn reads_every_form() {
        assert_eq!(Id::parse("a/b-1.5"), id("a/b-1.5", "main", Part::Whole));
        assert_eq!(Id::parse("a/b@v1.0"), id("a/b", "v1.0", Part::Whole));
        assert_eq!(Id::parse("a/b@refs/pr/1:Q8_0"), id("a/b", "refs/pr/1", Part::Quant("Q8_0".into())));
        assert_eq!(Id::parse("a/b@v1/x/y.gguf"), id("a/b", "v1", Part::File("x/y.gguf".into())));
        assert_eq!(Id::parse("a/b/y.GGUF"), id("a/b", "main", Part::File("y.GGUF".into())));
        assert_eq!(Id::parse("4b"), id("Qwen/Qwen3-Reranker-4B", "main", Part::Whole));
    }

    #[test]
    fn refuses_what_is_a_path_or_a_step_out_of_the_cache() {
        for text in [
            "",
            "a",
            "5b",
            "a/",
            "/b",
            "a/b/",
            "a/b.gguf",
            "../b",
            "a/..",
            "a/b@..",
            "a/b@v/../w",
            "a/b/../x.gguf",
            "a/b:",
            "a b/c",
            "./x.gguf",
            "a/b/c",
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }

    #[test]
    fn picks_the_file_of_a_quantisation_by_its_word() {
        let names = ["README.md", "m-q4_k_m.gguf", "m-imatrix-q4_k_m.gguf", "m.Q8_0.gguf", "m-q8_0-x.gguf"];
        assert_eq!(pick_quant(names.into_iter(), "Q4_K_M"), Some("m-q4_k_m.gguf"));
        assert_eq!(pick_quant(names.into_iter(), "q8_0"), Some("m.Q8_0.gguf"));
        assert_eq!(pick_quant(names.into_iter(), "q4"), None);
    }

    #[test]
    fn the_short_names_are_those_of_the_npm_package() {
        let Ok(registry) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pkg/src/registry.js")) else {
            return;
        };
        for (alias, repo, file) in ALIASES.iter().filter(|(.., file)| file.is_some()) {
            for text in [alias, repo, &file.unwrap_or_default()] {
                assert!(registry.contains(&format!("'{text}'")), "{text} is not in pkg/src/registry.js");
            }
        }
    }
}
