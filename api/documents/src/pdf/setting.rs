//! Typesetting: a text to lines of glyphs that fit a width, in both directions.

use super::fonts::{Fonts, Script, Weight};
use crate::shown::{Shown, isolate};
use krilla::text::KrillaGlyph;
use std::ops::Range;
use std::rc::Rc;
use unicode_bidi::{BidiClass, BidiInfo, Level, bidi_class};

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Size of the font in points.
    pub size: f32,
    pub weight: Weight,
}

/// Glyphs in one font, at a place in their line.
pub struct Piece {
    /// From the left end of the line, in points.
    pub x: f32,
    pub script: Script,
    pub right_to_left: bool,
    /// Whether there is a letter in it: digits and signs are of no language.
    pub letters: bool,
    pub glyphs: Vec<KrillaGlyph>,
}

/// One line of a text.
pub struct Line {
    /// The whole text, which the glyphs point into.
    pub text: Rc<str>,
    pub style: Style,
    /// In the order in which they are read.
    pub pieces: Vec<Piece>,
    /// Its width in points, without the space it ends with.
    pub width: f32,
    /// The width of that space: it stands after the line, or before it in text from right to left.
    pub space: f32,
}

/// Sets texts in one direction.
pub struct Setter<'a> {
    pub fonts: &'a Fonts,
    pub right_to_left: bool,
}

/// A text with the levels of its letters.
struct Paragraph<'a> {
    text: &'a str,
    info: BidiInfo<'a>,
    style: Style,
}

impl Setter<'_> {
    /// The lines of a text that are at most `width` points wide each.
    pub fn lines(&self, text: &Shown, style: Style, width: f32) -> Vec<Line> {
        let text: Rc<str> = self.fonts.writable(text.as_str(), isolate).into();
        let level = if self.right_to_left { Level::rtl() } else { Level::ltr() };
        let paragraph = Paragraph { text: &text, info: BidiInfo::new(&text, Some(level)), style };
        let ranges = self.ranges(&paragraph, width);
        ranges.into_iter().map(|range| self.line(&paragraph, &text, range)).collect()
    }

    /// The width of a text on one line, in points.
    pub fn width(&self, text: &Shown, style: Style) -> f32 {
        self.lines(text, style, f32::INFINITY).first().map_or(0.0, |line| line.width)
    }

    /// Where lines begin and end: as many words as fit, and a word that does not fit at all is cut.
    fn ranges(&self, paragraph: &Paragraph, width: f32) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let (mut start, mut used) = (0, 0.0);
        for word in words(paragraph.text) {
            let letters = word.start..word.start + paragraph.text[word.clone()].trim_end_matches(' ').len();
            let word_width = self.measure(paragraph, letters.clone());
            if used > 0.0 && used + word_width > width {
                ranges.push(start..word.start);
                (start, used) = (word.start, 0.0);
            }
            if word_width > width {
                for cut in self.cuts(paragraph, letters.clone(), width) {
                    ranges.push(start..cut);
                    start = cut;
                }
                used = self.measure(paragraph, start..word.end);
            } else {
                used += word_width + self.measure(paragraph, letters.end..word.end);
            }
        }
        if start < paragraph.text.len() || ranges.is_empty() {
            ranges.push(start..paragraph.text.len());
        }
        ranges
    }

    /// Where a word is cut that is wider than a line: after a sign if one is in the second half, else between letters.
    fn cuts(&self, paragraph: &Paragraph, word: Range<usize>, width: f32) -> Vec<usize> {
        let mut cuts = Vec::new();
        let (mut start, mut used, mut sign) = (word.start, 0.0, None);
        for (range, letter) in self.letters(paragraph, word) {
            let mark = paragraph.text[range.clone()].chars().all(|c| bidi_class(c) == BidiClass::NSM);
            if used + letter > width && range.start > start && !mark {
                let cut = sign.filter(|(_, at)| *at > width / 2.0);
                let (at, kept) = cut.unwrap_or((range.start, used));
                cuts.push(at);
                (start, used, sign) = (at, used - kept, None);
            }
            used += letter;
            if paragraph.text[range.clone()]
                .ends_with(['-', '/', '_', '.', ',', ':', ';', '@', '?', '&', '='])
            {
                sign = Some((range.end, used));
            }
        }
        cuts
    }

    /// Letters of a range and their widths, in the order of the text.
    fn letters(&self, paragraph: &Paragraph, range: Range<usize>) -> Vec<(Range<usize>, f32)> {
        let mut letters: Vec<(Range<usize>, f32)> = Vec::new();
        for (_, _, _, glyphs) in self.shaped(paragraph, range) {
            for glyph in glyphs {
                letters.push((glyph.text_range, glyph.x_advance * paragraph.style.size));
            }
        }
        letters.sort_by_key(|(range, _)| range.start);
        // Glyphs of one cluster are one letter.
        letters.dedup_by(|next, letter| {
            let same = next.0 == letter.0;
            letter.1 += if same { next.1 } else { 0.0 };
            same
        });
        letters
    }

    fn measure(&self, paragraph: &Paragraph, range: Range<usize>) -> f32 {
        self.letters(paragraph, range).iter().map(|(_, width)| width).sum()
    }

    /// Pieces of a range from left to right: where each begins in the text, its script, its direction, its glyphs.
    fn shaped(
        &self,
        paragraph: &Paragraph,
        range: Range<usize>,
    ) -> Vec<(usize, Script, bool, Vec<KrillaGlyph>)> {
        let Some(whole) = paragraph.info.paragraphs.first().filter(|_| !range.is_empty()) else {
            return Vec::new();
        };
        let (levels, runs) = paragraph.info.visual_runs(whole, range);
        let mut out = Vec::new();
        for run in runs {
            let right_to_left = levels.get(run.start).is_some_and(|level| level.is_rtl());
            let mut pieces = self.fonts.by_script(paragraph.text, run, isolate);
            if right_to_left {
                pieces.reverse();
            }
            for (script, piece) in pieces {
                let start = piece.start;
                let weight = paragraph.style.weight;
                let glyphs = self.fonts.shape(paragraph.text, (script, piece), weight, right_to_left);
                out.push((start, script, right_to_left, glyphs));
            }
        }
        out
    }

    fn line(&self, paragraph: &Paragraph, text: &Rc<str>, range: Range<usize>) -> Line {
        let size = paragraph.style.size;
        let visible = text[range.clone()].trim_end_matches([' ']).len() + range.start;
        let (mut x, mut space) = (0.0, 0.0);
        let mut pieces = Vec::new();
        for (start, script, right_to_left, glyphs) in self.shaped(paragraph, range) {
            let width: f32 = glyphs.iter().map(|glyph| glyph.x_advance * size).sum();
            let after = glyphs.iter().filter(|glyph| glyph.text_range.start >= visible);
            space += after.map(|glyph| glyph.x_advance * size).sum::<f32>();
            let (first, glyphs) = as_read(glyphs);
            let mut shown = glyphs.iter().flat_map(|glyph| text[glyph.text_range.clone()].chars());
            let letters = shown.any(char::is_alphabetic);
            pieces.push((start, Piece { x: x + first * size, script, right_to_left, letters, glyphs }));
            x += width;
        }
        pieces.sort_by_key(|(start, _)| *start);
        let pieces = pieces.into_iter().map(|(_, piece)| piece).collect();
        Line { text: text.clone(), style: paragraph.style, pieces, width: x - space, space }
    }
}

/// The glyphs in the order in which they are read, and where the first of them stands. From right to left each moves back
/// to the next, so that who reads the contents of the page in their order reads the text in its order.
fn as_read(mut glyphs: Vec<KrillaGlyph>) -> (f32, Vec<KrillaGlyph>) {
    let backwards = glyphs.windows(2).any(|pair| pair[0].text_range.start > pair[1].text_range.start);
    if !backwards {
        return (0.0, glyphs);
    }
    let last = glyphs.iter().rev().skip(1).map(|glyph| glyph.x_advance).sum();
    let mut before = 0.0;
    for glyph in &mut glyphs {
        before = -std::mem::replace(&mut glyph.x_advance, before);
    }
    glyphs.reverse();
    (last, glyphs)
}

/// Words with the spaces after them.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let (mut start, mut spaces) = (0, false);
    for (index, c) in text.char_indices() {
        if c == ' ' {
            spaces = true;
        } else if spaces {
            words.push(start..index);
            (start, spaces) = (index, false);
        }
    }
    words.push(start..text.len());
    words
}
