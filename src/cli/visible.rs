//! Text of strangers, made fit for a terminal: nothing in it can move the cursor, change colours, turn the reading
//! direction around or pretend to be output of ours.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// How a character is shown instead of itself, if it must be.
fn stand_in(c: char) -> Option<String> {
    let bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).map(String::from),
        '\u{7f}' => Some("\u{2421}".into()),
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' => Some(named(c)),
        _ if bidi => Some(named(c)),
        _ => None,
    }
}

fn named(c: char) -> String {
    format!("<U+{:04X}>", c as u32)
}

/// The text with every control character made visible.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| stand_in(c).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::with_capacity(text.len() + 16), |mut out, c| {
        match stand_in(c) {
            Some(shown) => out.push_str(&shown),
            None => out.push(c),
        }
        out
    }))
}

/// The text on one line: runs of white space become one space, then as [`visible`].
pub(crate) fn one_line(text: &str) -> String {
    visible(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// Columns of a visible text. Summed over characters, so never less than a terminal takes for joined emoji.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// As much of a visible text as fits into `columns`, with an ellipsis where it was cut.
pub(crate) fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let (mut taken, mut used) = (0, 0);
    for (at, c) in text.char_indices() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        used += w;
        taken = at + c.len_utf8();
    }
    Cow::Owned(format!("{}\u{2026}", text[..taken].trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_is_left() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7}\r\n\u{202e}b\u{2066}c\u{7f}";
        let shown = visible(hostile);
        assert_eq!(shown, "a\u{241b}[2J<U+009B>31m\u{2407}\u{240d}\u{240a}<U+202E>b<U+2066>c\u{2421}");
        assert!(matches!(visible("plain \u{4e2d}\u{6587} \u{1f468}\u{200d}\u{1f469}"), Cow::Borrowed(_)));
    }

    #[test]
    fn cuts_at_columns_and_not_at_bytes() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde\u{2026}");
        assert_eq!(fit("\u{4e2d}\u{6587}\u{5b57}\u{7b26}", 6), "\u{4e2d}\u{6587}\u{2026}");
        assert_eq!(width("\u{4e2d}a"), 3);
        assert_eq!(one_line(" a\r\n\tb\u{1b} "), "a b\u{241b}");
    }
}
