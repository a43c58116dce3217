//! Texts that may stand on a page.

/// Longest name on a page, in characters: three lines of the narrowest column.
pub const NAME: usize = 120;
/// Longest sentence on a page, in characters.
pub const SENTENCE: usize = 300;

/// Isolates whose direction is that of their first strong letter, and that are from left to right; and their end.
const FIRST_STRONG: char = '\u{2068}';
const LEFT_TO_RIGHT: char = '\u{2066}';
const END: char = '\u{2069}';

/// A text that reads on a page as it was meant, whatever it is: data in it has no controls, no marks of direction and a
/// limited length, and is isolated from what is around it (UAX #9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// A word of ours.
    pub fn word(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// What somebody wrote, cut after `longest` characters.
    pub fn data(text: &str, longest: usize) -> Self {
        Self(format!("{FIRST_STRONG}{}{END}", clean(text, longest)))
    }

    /// A figure, date or code: from left to right in every language.
    pub fn figure(text: &str) -> Self {
        Self(format!("{LEFT_TO_RIGHT}{}{END}", clean(text, SENTENCE)))
    }

    /// Both, one after the other.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// The text with its isolates, for a page.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without them, for titles.
    pub fn plain(&self) -> String {
        self.0.chars().filter(|c| !isolate(*c)).collect()
    }
}

/// Whether a character is one of the isolates that are put around data: nothing is drawn for it.
pub fn isolate(c: char) -> bool {
    [FIRST_STRONG, LEFT_TO_RIGHT, END].contains(&c)
}

/// The text on one line, without what is not seen, and with an ellipsis where it was cut.
pub fn clean(text: &str, longest: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    let mut gap = false;
    // What is looked at is limited too: a text may be all invisible.
    let looked_at = longest.saturating_mul(8);
    for (index, c) in text.chars().enumerate() {
        if length >= longest || index >= looked_at {
            out.push('…');
            break;
        }
        // The spaces that do not break hold figures together.
        let breaks = c.is_whitespace() && !matches!(c, '\u{00A0}' | '\u{202F}');
        if breaks || c.is_control() {
            gap = !out.is_empty();
        } else if !unseen(c) {
            if gap {
                out.push(' ');
                length += 1;
                gap = false;
            }
            out.push(c);
            length += 1;
        }
    }
    out
}

/// Characters of format: they change how the text around them reads, or nothing at all. Two of them stay, because Arabic
/// script needs them: the joiner and the non-joiner.
fn unseen(c: char) -> bool {
    matches!(c, '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_visible_line_of_limited_length() {
        let check = |text: &str, expect: &str| assert_eq!(clean(text, 10), expect);
        check("a\r\n\tb", "a b");
        check("  a  ", "a");
        check("a\u{202E}cba", "acba");
        check("a\u{2066}b\u{2069}c\u{200F}", "abc");
        check("\u{0}a\u{7}b", "a b");
        check("وزارة", "وزارة");
        check("0123456789", "0123456789");
        check("0123456789a", "0123456789…");
        check(&"\u{200B}".repeat(1 << 16), "…");
        check(&"a".repeat(1 << 16), "aaaaaaaaaa…");
        check("#read(\"x\")", "#read(\"x\")");
        check("*b* $x$", "*b* $x$");
    }

    #[test]
    fn data_is_isolated_and_titles_are_plain() {
        let text = Shown::word("N° ").and(&Shown::data("a\u{2069}b", 9));
        assert_eq!(text.as_str(), "N° \u{2068}ab\u{2069}");
        assert_eq!(text.plain(), "N° ab");
    }
}
