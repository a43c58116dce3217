//! The fonts of a page, and the shaping of a run of text in one of them.

use crate::DocumentError;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use rustybuzz::ttf_parser::GlyphId as FaceGlyph;
use rustybuzz::{Direction, UnicodeBuffer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

const FILES: [&[u8]; 5] = [
    include_bytes!("../../fonts/NotoSans-Regular.ttf"),
    include_bytes!("../../fonts/NotoSans-Bold.ttf"),
    include_bytes!("../../fonts/NotoSansArabic-Regular.ttf"),
    include_bytes!("../../fonts/NotoSansArabic-Bold.ttf"),
    include_bytes!("../../fonts/NotoSansTifinagh-Regular.ttf"),
];

/// What is shown for a character that no font has.
const REPLACEMENT: char = '\u{FFFD}';

/// Thickness of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    #[default]
    Regular,
    Bold,
}

/// A group of scripts that one font has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Latin, Greek and Cyrillic, digits and signs.
    Latin,
    Arabic,
    Tifinagh,
}

impl Script {
    /// The script that only one of the fonts has; nothing for spaces, marks and the like, which go with their neighbours.
    fn of(c: char) -> Option<Self> {
        match c {
            '\u{0600}'..='\u{06FF}' | '\u{0750}'..='\u{077F}' | '\u{08A0}'..='\u{08FF}' => Some(Self::Arabic),
            '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' => Some(Self::Arabic),
            '\u{2D30}'..='\u{2D7F}' => Some(Self::Tifinagh),
            ' ' | '\u{00A0}' | '\u{200C}' | '\u{200D}' | '\u{25CC}' | '\u{0300}'..='\u{036F}' => None,
            _ => Some(Self::Latin),
        }
    }

    /// The language that text in it is in, where the script says so: its tag (BCP 47).
    pub fn language(self) -> Option<&'static str> {
        match self {
            Self::Latin => None,
            Self::Arabic => Some("ar"),
            Self::Tifinagh => Some("zgh"),
        }
    }
}

struct Face {
    shaper: rustybuzz::Face<'static>,
    font: Font,
    /// The same font once more for text from right to left: there a glyph of `)` stands for `(`, and in one font a glyph
    /// stands for one character.
    mirrored: Font,
    units_per_em: f32,
}

impl Face {
    fn has(&self, c: char) -> bool {
        self.shaper.glyph_index(c).is_some_and(|glyph| glyph != FaceGlyph(0))
    }

    fn shape(&self, text: &str, right_to_left: bool) -> Shaped {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        buffer.set_direction(if right_to_left { Direction::RightToLeft } else { Direction::LeftToRight });
        let shaped = rustybuzz::shape(&self.shaper, &[], buffer);
        let infos = shaped.glyph_infos();
        let mut borders: Vec<usize> = infos.iter().map(|info| index(info.cluster)).collect();
        borders.push(text.len());
        borders.sort_unstable();
        borders.dedup();
        let scale = |units: i32| units as f32 / self.units_per_em;
        let glyph = |(info, at): (&rustybuzz::GlyphInfo, &rustybuzz::GlyphPosition)| {
            let start = index(info.cluster);
            let end = borders.iter().find(|border| **border > start).copied().unwrap_or(text.len());
            (info.glyph_id, [scale(at.x_advance), scale(at.x_offset), scale(at.y_offset)], start..end)
        };
        infos.iter().zip(shaped.glyph_positions()).map(glyph).collect()
    }
}

/// A glyph of a piece: its number, its width, its offsets, and the part of the piece that it shows.
type Shaped = Rc<[(u32, [f32; 3], Range<usize>)]>;

/// The fonts that this program carries.
pub struct Fonts {
    faces: Vec<Face>,
    /// What was shaped before: names, prices and words come again on every line.
    shaped: RefCell<BTreeMap<(usize, bool, String), Shaped>>,
}

impl Fonts {
    /// # Errors
    /// [`DocumentError::Pdf`]: not with the files that are in this crate.
    pub fn read() -> Result<Self, DocumentError> {
        let read = |file: &'static [u8]| {
            let shaper = rustybuzz::Face::from_slice(file, 0)?;
            let font = Font::new(file.to_vec().into(), 0)?;
            // Fonts are told apart by their bytes; one more at the end is read by nobody.
            let mirrored = Font::new([file, &[0]].concat().into(), 0)?;
            Some(Face { units_per_em: font.units_per_em(), shaper, font, mirrored })
        };
        let faces = FILES.into_iter().map(read).collect::<Option<Vec<_>>>();
        let faces =
            faces.ok_or_else(|| DocumentError::Pdf("a font of this program cannot be read".to_owned()))?;
        Ok(Self { faces, shaped: RefCell::default() })
    }

    fn face(&self, script: Script, weight: Weight) -> &Face {
        &self.faces[place(script, weight)]
    }

    /// The font that a script is written in.
    pub fn font(&self, script: Script, weight: Weight, right_to_left: bool) -> Font {
        let face = self.face(script, weight);
        let mirrored = right_to_left && script != Script::Arabic;
        if mirrored { face.mirrored.clone() } else { face.font.clone() }
    }

    /// The text with a visible sign for each character that no font has.
    pub fn writable(&self, text: &str, keep: impl Fn(char) -> bool) -> String {
        let script = |c| Script::of(c).unwrap_or(Script::Latin);
        let writable = |c| keep(c) || self.face(script(c), Weight::Regular).has(c);
        // The joiners are in the Arabic font alone; beside Latin letters they do nothing and can go.
        let seen = text.chars().filter(|c| !matches!(c, '\u{200C}' | '\u{200D}') || text.chars().any(arabic));
        seen.map(|c| if writable(c) || matches!(c, '\u{200C}' | '\u{200D}') { c } else { REPLACEMENT })
            .collect()
    }

    /// `range` of `text` in pieces of one script each, in their order.
    pub fn by_script(
        &self,
        text: &str,
        range: Range<usize>,
        skip: impl Fn(char) -> bool,
    ) -> Vec<(Script, Range<usize>)> {
        let mut pieces: Vec<(Script, Range<usize>)> = Vec::new();
        for (index, c) in text[range.clone()].char_indices() {
            if skip(c) {
                continue;
            }
            let (start, end) = (range.start + index, range.start + index + c.len_utf8());
            let last = pieces.last_mut().filter(|(_, before)| before.end == start);
            let neighbour = last.as_ref().map(|(script, _)| *script);
            let goes_with = neighbour.filter(|script| self.face(*script, Weight::Regular).has(c));
            let script = Script::of(c).or(goes_with).unwrap_or_else(|| self.any(c));
            match last {
                Some((before, piece)) if *before == script => piece.end = end,
                _ => pieces.push((script, start..end)),
            }
        }
        pieces
    }

    fn any(&self, c: char) -> Script {
        let has = |script: &Script| self.face(*script, Weight::Regular).has(c);
        [Script::Latin, Script::Arabic, Script::Tifinagh].into_iter().find(has).unwrap_or(Script::Latin)
    }

    /// Glyphs of a piece in the order in which they are seen from left to right, with widths in parts of the font size.
    pub fn shape(
        &self,
        text: &str,
        (script, range): (Script, Range<usize>),
        weight: Weight,
        right_to_left: bool,
    ) -> Vec<KrillaGlyph> {
        let key = (place(script, weight), right_to_left, text[range.clone()].to_owned());
        let known = self.shaped.borrow().get(&key).cloned();
        let glyphs = known.unwrap_or_else(|| {
            let glyphs = self.face(script, weight).shape(&key.2, right_to_left);
            self.shaped.borrow_mut().insert(key, glyphs.clone());
            glyphs
        });
        let glyph = |(id, [advance, x, y], part): &(u32, [f32; 3], Range<usize>)| {
            let part = range.start + part.start..range.start + part.end;
            KrillaGlyph::new(GlyphId::new(*id), *advance, *x, *y, 0.0, part, None)
        };
        glyphs.iter().map(glyph).collect()
    }
}

fn place(script: Script, weight: Weight) -> usize {
    match (script, weight) {
        (Script::Latin, Weight::Regular) => 0,
        (Script::Latin, Weight::Bold) => 1,
        (Script::Arabic, Weight::Regular) => 2,
        (Script::Arabic, Weight::Bold) => 3,
        (Script::Tifinagh, _) => 4,
    }
}

fn arabic(c: char) -> bool {
    Script::of(c) == Some(Script::Arabic)
}

/// Clusters are offsets in a text of limited length.
fn index(cluster: u32) -> usize {
    usize::try_from(cluster).unwrap_or(usize::MAX)
}
