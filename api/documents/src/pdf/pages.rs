//! Pages: what stands where, and the tree of tags that says what it is.
//!
//! First everything is placed, page by page; then all of it is drawn, because only then the number of pages is known.
//! The tree is made while placing: a leaf of it gets the marked contents that are drawn for it.

use super::fonts::{Fonts, Weight};
use super::setting::{Line, Setter, Style};
use crate::shown::Shown;
use crate::{DocumentError, Language};
use krilla::Document;
use krilla::color::rgb;
use krilla::destination::XyzDestination;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::{
    Artifact, ArtifactType, ContentTag, Identifier, SpanTag, Tag, TagGroup, TagKind, TagTree,
};
use std::num::NonZeroU16;

/// A4, in points.
pub const WIDTH: f32 = 595.28;
const HEIGHT: f32 = 841.89;
/// Empty at the sides.
pub const MARGIN: f32 = 42.0;
const TOP: f32 = 46.0;
/// Where text ends; the footer is below.
const BOTTOM: f32 = HEIGHT - 58.0;

/// Colours: text, text that matters less, the one accent, and grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Ink,
    Grey,
    Accent,
    Ground,
    Rule,
}

impl Colour {
    fn fill(self) -> Fill {
        let (red, green, blue) = match self {
            Self::Ink => (0x1B, 0x22, 0x27),
            Self::Grey => (0x52, 0x5C, 0x62),
            Self::Accent => (0x0B, 0x5D, 0x46),
            Self::Ground => (0xEC, 0xF3, 0xEF),
            Self::Rule => (0xB9, 0xC6, 0xC0),
        };
        Fill {
            paint: rgb::Color::new(red, green, blue).into(),
            opacity: NormalizedF32::ONE,
            rule: Default::default(),
        }
    }
}

/// Where a text stands in its box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Where reading begins.
    Start,
    /// On the right in every language, so that digits stand below digits.
    Right,
}

/// What something on a page is.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Content: a leaf of the tree.
    Leaf(usize),
    /// No content: repeated, or ornament.
    Artifact(ArtifactType),
}

/// The tags that are used, with their places in the tree.
pub struct Node {
    tag: TagKind,
    children: Vec<usize>,
    contents: Vec<Identifier>,
}

enum Item {
    Text { x: f32, baseline: f32, line: Line, colour: Colour, role: Role },
    Area { x: f32, y: f32, width: f32, height: f32, colour: Colour },
}

/// Pages while they are filled.
pub struct Pages<'a> {
    pub setter: Setter<'a>,
    language: Language,
    pages: Vec<Vec<Item>>,
    nodes: Vec<Node>,
    roots: Vec<usize>,
    outline: Vec<(String, usize, f32)>,
    /// Where the next thing goes, from the top.
    pub y: f32,
}

impl<'a> Pages<'a> {
    pub fn new(fonts: &'a Fonts, language: Language) -> Self {
        let setter = Setter { fonts, right_to_left: language.right_to_left() };
        let (pages, nodes, roots, outline) = (vec![Vec::new()], Vec::new(), Vec::new(), Vec::new());
        Self { setter, language, pages, nodes, roots, outline, y: TOP }
    }

    /// The space of one line of text: Arabic letters reach further up and down.
    pub fn leading(&self, size: f32) -> f32 {
        size * if self.language.right_to_left() { 1.62 } else { 1.42 }
    }

    /// A new node below `parent`, or at the top.
    pub fn node(&mut self, tag: impl Into<TagKind>, parent: Option<usize>) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node { tag: tag.into(), children: Vec::new(), contents: Vec::new() });
        match parent.and_then(|parent| self.nodes.get_mut(parent)) {
            Some(parent) => parent.children.push(index),
            None => self.roots.push(index),
        }
        index
    }

    /// Whether `height` is left on this page.
    pub fn fits(&self, height: f32) -> bool {
        self.y + height <= BOTTOM
    }

    /// Begins a page.
    pub fn turn(&mut self) {
        self.pages.push(Vec::new());
        self.y = TOP;
    }

    /// Begins a page if `height` is not left on this one.
    pub fn need(&mut self, height: f32) {
        if !self.fits(height) {
            self.turn();
        }
    }

    /// Lines of a text in a box that begins `start` points from where reading begins. The height that they take.
    pub fn place(
        &mut self,
        lines: Vec<Line>,
        boxed: (f32, f32, f32),
        look: (Align, Colour),
        role: Role,
    ) -> f32 {
        let (start, top, width) = boxed;
        let mut height = 0.0;
        for line in lines {
            let leading = self.leading(line.style.size);
            let baseline = top + height + leading * 0.5 + line.style.size * 0.36;
            let x = self.left(&line, start, width, look.0);
            self.put(Item::Text { x, baseline, line, colour: look.1, role });
            height += leading;
        }
        height
    }

    /// Where a line begins on the left. The space it ends with hangs out of its box: on the right, or on the left in
    /// text from right to left.
    fn left(&self, line: &Line, start: f32, width: f32, align: Align) -> f32 {
        let right_to_left = self.language.right_to_left();
        let left = if right_to_left { WIDTH - MARGIN - start - width } else { MARGIN + start };
        let to_right = align == Align::Right || right_to_left;
        let x = if to_right { left + width - line.width } else { left };
        if right_to_left { x - line.space } else { x }
    }

    /// An area in one colour, which begins `start` points from where reading begins.
    pub fn area(&mut self, start: f32, y: f32, (width, height): (f32, f32), colour: Colour) {
        let right_to_left = self.language.right_to_left();
        let x = if right_to_left { WIDTH - MARGIN - start - width } else { MARGIN + start };
        self.put(Item::Area { x, y, width, height, colour });
    }

    fn put(&mut self, item: Item) {
        if let Some(page) = self.pages.last_mut() {
            page.push(item);
        }
    }

    /// A heading of `level`, which is in the outline too, on a page with `kept` points of what follows.
    pub fn heading(&mut self, level: u16, text: &Shown, kept: f32) {
        let size = if level == 1 { 17.0 } else { 11.0 };
        let style = Style { size, weight: Weight::Bold };
        let lines = self.setter.lines(text, style, WIDTH - 2.0 * MARGIN);
        self.need(self.leading(size) + kept);
        let title = text.plain();
        self.outline.push((title.clone(), self.pages.len().saturating_sub(1), self.y));
        let level = NonZeroU16::new(level).unwrap_or(NonZeroU16::MIN);
        let node = self.node(Tag::Hn(level, Some(title)), None);
        let boxed = (0.0, self.y, WIDTH - 2.0 * MARGIN);
        self.y += self.place(lines, boxed, (Align::Start, Colour::Accent), Role::Leaf(node));
    }

    /// A paragraph over the whole width.
    pub fn paragraph(&mut self, text: &Shown, style: Style, colour: Colour) {
        let width = WIDTH - 2.0 * MARGIN;
        let lines = self.setter.lines(text, style, width);
        let height: f32 = lines.len() as f32 * self.leading(style.size);
        self.need(height);
        let node = self.node(Tag::P, None);
        self.y += self.place(lines, (0.0, self.y, width), (Align::Start, colour), Role::Leaf(node));
    }

    /// What stands at the foot of every page, and on top of all but the first.
    fn furniture(&mut self, running: &Shown) {
        let count = self.pages.len();
        let style = Style { size: 7.5, weight: Weight::Regular };
        let width = WIDTH - 2.0 * MARGIN;
        let words = self.language.words();
        for index in 0..count {
            let (page, all) = ((index + 1).to_string(), count.to_string());
            let mut parts = words.page_of.split("{}");
            let mut text = Shown::default();
            for number in [page, all] {
                text = text.and(&Shown::word(parts.next().unwrap_or_default())).and(&Shown::figure(&number));
            }
            let number_width = self.setter.width(&text, style);
            let baseline = HEIGHT - 34.0;
            let role = Role::Artifact(ArtifactType::Footer);
            for (text, start) in [(running, 0.0), (&text, width - number_width)] {
                for line in self.setter.lines(text, style, width).into_iter().take(1) {
                    let x = self.left(&line, start, line.width, Align::Start);
                    if let Some(page) = self.pages.get_mut(index) {
                        page.push(Item::Text { x, baseline, line, colour: Colour::Grey, role });
                    }
                }
            }
            let rule = Item::Area { x: MARGIN, y: baseline - 13.0, width, height: 0.5, colour: Colour::Rule };
            if let Some(page) = self.pages.get_mut(index) {
                page.push(rule);
            }
        }
    }

    /// Draws everything, with `running` at the foot of every page.
    pub fn draw(mut self, document: &mut Document, running: &Shown) -> Result<(), DocumentError> {
        self.furniture(running);
        let settings = PageSettings::from_wh(WIDTH, HEIGHT);
        let settings = settings.ok_or_else(|| DocumentError::Pdf("the page has no size".to_owned()))?;
        for page in std::mem::take(&mut self.pages) {
            let mut drawn = document.start_page_with(settings.clone());
            let mut surface = drawn.surface();
            for item in page {
                match item {
                    Item::Area { x, y, width, height, colour } => {
                        area(&mut surface, (x, y, width, height), colour)
                    }
                    Item::Text { x, baseline, line, colour, role } => {
                        surface.set_fill(Some(colour.fill()));
                        self.text(&mut surface, &line, (x, baseline), role);
                    }
                }
            }
            surface.finish();
            drawn.finish();
        }
        document.set_outline(self.outline());
        document.set_tag_tree(self.tree());
        Ok(())
    }

    /// Draws a line. Text in a script that only one language of ours has says that language.
    fn text(&mut self, surface: &mut Surface, line: &Line, (x, baseline): (f32, f32), role: Role) {
        let own = self.language.tag();
        let mut lang = None;
        let languages = line.pieces.iter().map(|piece| {
            // Digits and signs are read with what is before them.
            lang = if piece.letters { piece.script.language().filter(|tag| *tag != own) } else { lang };
            lang
        });
        let pieces: Vec<_> = languages.zip(&line.pieces).collect();
        for group in pieces.chunk_by(|a, b| a.0 == b.0) {
            let lang = group.first().and_then(|(lang, _)| *lang);
            let tag = match role {
                Role::Leaf(_) => ContentTag::Span(SpanTag::empty().with_lang(lang)),
                Role::Artifact(kind) => ContentTag::Artifact(Artifact::with_kind(kind)),
            };
            let identifier = surface.start_tagged(tag);
            for (_, piece) in group {
                let font = self.setter.fonts.font(piece.script, line.style.weight, piece.right_to_left);
                let at = Point::from_xy(x + piece.x, baseline);
                surface.draw_glyphs(at, &piece.glyphs, font, &line.text, line.style.size, false);
            }
            surface.end_tagged();
            if let Role::Leaf(node) = role
                && let Some(node) = self.nodes.get_mut(node)
            {
                node.contents.push(identifier);
            }
        }
    }

    fn outline(&self) -> Outline {
        let mut outline = Outline::new();
        for (title, page, y) in &self.outline {
            let target = XyzDestination::new(*page, Point::from_xy(MARGIN, *y));
            outline.push_child(OutlineNode::new(title.clone(), target));
        }
        outline
    }

    fn tree(&mut self) -> TagTree {
        let mut tree = TagTree::new().with_lang(Some(self.language.tag().to_owned()));
        for root in std::mem::take(&mut self.roots) {
            tree.push(self.group(root));
        }
        tree
    }

    fn group(&mut self, index: usize) -> TagGroup {
        let Some(node) = self.nodes.get_mut(index) else { return TagGroup::new(Tag::Div) };
        let (tag, contents) = (node.tag.clone(), std::mem::take(&mut node.contents));
        let mut group = TagGroup::new(tag);
        for child in std::mem::take(&mut node.children) {
            group.push(self.group(child));
        }
        for content in contents {
            group.push(content);
        }
        group
    }
}

fn area(surface: &mut Surface, (x, y, width, height): (f32, f32, f32, f32), colour: Colour) {
    let mut path = PathBuilder::new();
    let Some(rect) = Rect::from_xywh(x, y, width, height) else { return };
    path.push_rect(rect);
    if let Some(path) = path.finish() {
        surface.set_fill(Some(colour.fill()));
        surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
        surface.draw_path(&path);
        surface.end_tagged();
    }
}
