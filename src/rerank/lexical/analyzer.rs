//! From a text to the terms that BM25 counts.
//!
//! - Compatibility forms are made one (NFKC): full-width digits, ligatures, presentation forms.
//! - Words end where Unicode says (UAX 29), at apostrophes (`l'eau`), and inside identifiers: `snake_case` becomes its parts, `camelCase` its parts and
//!   the whole.
//! - Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces, and Korean words are phrases: their runs become character bigrams.
//! - Words are lower-cased, and stemmed by Snowball where the language has a stemmer.

use std::{collections::HashMap, mem};

use frostem::Stemmer;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Longer words are no words of a language: encoded data, which stemming would only cost time.
const LONGEST_WORD: usize = 128;

/// Identifiers and comments are English, mostly.
const PROGRAMMING: [&str; 20] = [
    "bash",
    "c",
    "c++",
    "cpp",
    "csharp",
    "go",
    "html",
    "java",
    "javascript",
    "kotlin",
    "lua",
    "perl",
    "php",
    "python",
    "ruby",
    "rust",
    "scala",
    "sql",
    "swift",
    "typescript",
];

/// Makes terms of texts in one language.
pub struct Analyzer {
    stemmer: Option<Stemmer>,
    /// Stems found already: texts repeat their words.
    stems: HashMap<String, String>,
}

impl Analyzer {
    /// For a language by its code (ISO 639, `en`, `pt-BR`), a programming language by its name, or for none that is known.
    pub fn new(language: Option<&str>) -> Self {
        Self { stemmer: language.and_then(stemmer), stems: HashMap::new() }
    }

    /// The terms of a text, in its order.
    pub fn terms(&mut self, text: &str) -> Vec<String> {
        let text: String = text.nfkc().collect();
        let mut terms = Vec::new();
        let mut run = String::new();
        for piece in text.split_word_bounds() {
            if piece.chars().next().is_some_and(unspaced) {
                run.push_str(piece);
                continue;
            }
            bigrams(&mem::take(&mut run), &mut terms);
            for word in piece.split(ends_word).filter(|w| w.contains(char::is_alphanumeric)) {
                self.word(word, &mut terms);
            }
        }
        bigrams(&run, &mut terms);
        terms
    }

    fn word(&mut self, word: &str, terms: &mut Vec<String>) {
        let parts = camel_parts(word);
        if parts.len() > 1 {
            for part in parts {
                terms.push(self.stem(part.to_lowercase()));
            }
        }
        terms.push(self.stem(word.to_lowercase()));
    }

    fn stem(&mut self, word: String) -> String {
        let Some(stemmer) = &self.stemmer else { return word };
        if word.len() > LONGEST_WORD {
            return word;
        }
        if let Some(stem) = self.stems.get(&word) {
            return stem.clone();
        }
        let stem = stemmer.stem(&word).into_owned();
        self.stems.insert(word, stem.clone());
        stem
    }
}

/// The stemmer of a language. Names of algorithms are no codes of languages, so only codes are looked up.
fn stemmer(language: &str) -> Option<Stemmer> {
    let code = language.split(['-', '_']).next()?.to_lowercase();
    let code = match code.as_str() {
        "nb" | "nn" | "nob" | "nno" => "no", // Bokmål and Nynorsk share Norwegian's
        code if PROGRAMMING.contains(&code) => "en",
        code => code,
    };
    if !(2..=3).contains(&code.len()) {
        return None;
    }
    Stemmer::try_from_name(code).ok()
}

/// Marks inside what Unicode calls one word that part terms nevertheless: `it's`, `snake_case`, `example.org`, Persian's joiner before endings.
fn ends_word(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(
            c,
            '\u{2018}' | '\u{2019}' | '\u{200c}' | '\u{b7}' | '\u{2024}' | '\u{2027}' | '\u{387}' | '\u{5f4}'
        )
}

/// Scripts whose runs of characters are not parted into words by spaces, and Hangul, whose words carry their particles.
fn unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}'     // Thai, Lao
        | '\u{1000}'..='\u{109f}'   // Burmese
        | '\u{1780}'..='\u{17ff}'   // Khmer
        | '\u{3005}'..='\u{3007}'   // iteration mark, closing mark, zero
        | '\u{3041}'..='\u{30fa}'   // Hiragana, Katakana
        | '\u{30fc}'..='\u{30ff}'   // the long vowel's mark
        | '\u{3105}'..='\u{312f}'   // Bopomofo
        | '\u{31f0}'..='\u{31ff}'   // Katakana
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' // Han
        | '\u{ac00}'..='\u{d7a3}') // Hangul
}

/// Adds each two neighbouring characters, or the only one.
fn bigrams(run: &str, terms: &mut Vec<String>) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    match starts.len() {
        0 | 1 => {}
        2 => terms.push(run.to_owned()),
        _ => terms.extend(starts.windows(3).map(|w| run[w[0]..w[2]].to_owned())),
    }
}

/// The parts of `camelCase` and of `HTTPServer`: a part begins at a capital after a small letter, or at one before a small letter.
fn camel_parts(word: &str) -> Vec<&str> {
    let characters: Vec<(usize, char)> = word.char_indices().collect();
    let begins = |i: &usize| {
        let (before, here) = (characters[i - 1].1, characters[*i].1);
        let next = characters.get(i + 1).is_some_and(|(_, c)| c.is_lowercase());
        here.is_uppercase() && (before.is_lowercase() || before.is_uppercase() && next)
    };
    let starts = (1..characters.len()).filter(begins).map(|i| characters[i].0);
    let ends: Vec<usize> = [0].into_iter().chain(starts).chain([word.len()]).collect();
    ends.windows(2).map(|w| &word[w[0]..w[1]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(language: &str, text: &str) -> Vec<String> {
        Analyzer::new(Some(language)).terms(text)
    }

    #[test]
    fn words_are_stemmed_by_their_language() {
        assert_eq!(terms("en", "The CITIES' runners"), ["the", "citi", "runner"]);
        assert_eq!(terms("en-GB", "running"), ["run"]);
        assert_eq!(terms("fr", "l'eau des chevaux"), ["l", "eau", "de", "cheval"]);
        assert_eq!(terms("nb", "havnedistriktene"), ["havnedistrikt"]);
        assert_eq!(terms("python", "get_cities"), ["get", "citi"]);
        for unknown in ["xx", "", "porter", "cobol"] {
            assert_eq!(terms(unknown, "Running"), ["running"], "{unknown}");
        }
        assert_eq!(Analyzer::new(None).terms("Running, 3.14\u{ff11}"), ["running", "3", "141"]);
    }

    #[test]
    fn scripts_without_spaces_become_bigrams() {
        assert_eq!(terms("zh", "北京是GPU中"), ["北京", "京是", "gpu", "中"]);
        assert_eq!(terms("ja", "カタカナのー。日本"), ["カタ", "タカ", "カナ", "ナの", "のー", "日本"]);
        assert_eq!(terms("th", "กขค ง"), ["กข", "ขค", "ง"]);
        assert_eq!(terms("ko", "서울에서 산다"), ["서울", "울에", "에서", "산다"]);
    }

    #[test]
    fn identifiers_become_their_parts() {
        assert_eq!(terms("", "get_user_name(x)"), ["get", "user", "name", "x"]);
        assert_eq!(terms("", "parseHTTPResponse"), ["parse", "http", "response", "parsehttpresponse"]);
        assert_eq!(terms("", "NASA Utf8 iPhone"), ["nasa", "utf8", "i", "phone", "iphone"]);
    }

    #[test]
    fn marks_stay_in_their_words_and_joiners_part_them() {
        assert_eq!(terms("xx", "हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
        assert_eq!(terms("xx", "چاه\u{200c}های"), ["چاه", "های"]);
    }

    #[test]
    fn any_text_is_analysed_in_any_language() {
        let hostile = format!(
            "{} \u{301}\u{200d}\u{200c} \u{0}\u{fffd} İSTANBUL ς\u{345} 👨‍👩‍👧 {}",
            "\u{300}".repeat(300),
            "a_".repeat(500)
        );
        for language in [
            "ar", "ca", "cs", "da", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "ga", "hi", "hu", "hy", "id",
            "it", "lt", "ne", "nl", "no", "pl", "pt", "ro", "ru", "sr", "sv", "ta", "tr", "yi",
        ] {
            let mut analyzer = Analyzer::new(Some(language));
            assert!(analyzer.terms("").is_empty() && analyzer.terms(" .,;_' ").is_empty());
            assert!(analyzer.terms(&hostile).len() > 100, "{language}");
        }
    }
}
