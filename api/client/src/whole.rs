//! Whether an export is whole: its last record says how many rows came before it and the SHA-256 of all of their bytes.

use crate::arguments::national::ExportFormat;
use crate::error::Error;
use sha2::{Digest, Sha256};
use siyada_model::national::ExportEnd;

/// No record is longer: a line with all of its names has some kilobytes.
const LONGEST_RECORD: usize = 1 << 20;

/// Reads an export as it comes, and keeps no more of it than one record.
pub struct Whole {
    format: ExportFormat,
    hash: Sha256,
    /// Records before the last one, the head of a CSV file as well.
    before: u64,
    /// The last record so far, which is none of the others until something follows it.
    last: Vec<u8>,
    /// Whether the last record has come to its end.
    ended: bool,
    /// Whether a cell of a CSV file is quoted here: a record may go on in its next line.
    quoted: bool,
}

impl Whole {
    /// Before anything came.
    pub fn new(format: ExportFormat) -> Self {
        Self { format, hash: Sha256::new(), before: 0, last: vec![], ended: false, quoted: false }
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// When no record ends for long: this is no export.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for byte in bytes {
            if self.ended {
                self.hash.update(&self.last);
                self.before += 1;
                self.last.clear();
                self.ended = false;
            }
            self.last.push(*byte);
            match byte {
                b'"' if self.format == ExportFormat::Csv => self.quoted = !self.quoted,
                b'\n' => self.ended = !self.quoted,
                _ => {}
            }
        }
        if self.last.len() > LONGEST_RECORD {
            return Err(Error::NotNow("what the ledger answers is no export".to_owned()));
        }
        Ok(())
    }

    /// How many rows it has, when nothing more comes.
    ///
    /// # Errors
    /// When something is missing or otherwise than the last record says.
    pub fn rows(self) -> Result<u64, Error> {
        let end = Some(&self.last[..]).filter(|_| self.ended).and_then(|last| self.format.end(last));
        let Some(end) = end else {
            let detail = format!(
                "the export is not whole: it breaks off after {} records, without the last one that proves it",
                self.before
            );
            return Err(Error::NotNow(detail));
        };
        let head = u64::from(self.format == ExportFormat::Csv);
        let rows = self.before.checked_sub(head);
        if rows != Some(end.rows) {
            let found = rows.unwrap_or_default();
            let detail = format!("the export is not whole: it has {} rows, of which {found} came", end.rows);
            return Err(Error::NotNow(detail));
        }
        let hash: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if hash != end.sha256 {
            let detail = "the export is not as the ledger wrote it: the SHA-256 of its rows is another one";
            return Err(Error::NotNow(detail.to_owned()));
        }
        Ok(end.rows)
    }
}

impl ExportFormat {
    /// What the last record says, if this is one.
    fn end(self, record: &[u8]) -> Option<ExportEnd> {
        let text = std::str::from_utf8(record).ok()?;
        let end = match self {
            Self::Ndjson => serde_json::from_str(text).ok()?,
            Self::Csv => {
                let cells: Vec<&str> = text.trim_end().split(',').collect();
                let [record, _, between @ .., currency, rows, sha256] = &cells[..] else { return None };
                ExportEnd {
                    record: (*record).to_owned(),
                    rows: rows.parse().ok()?,
                    minor: between.iter().copied().collect(),
                    currency: currency.parse().ok()?,
                    sha256: (*sha256).to_owned(),
                }
            }
        };
        Some(end).filter(|end| end.record == "end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_model::canonical::sha256;

    fn csv(rows: &str, count: u64) -> String {
        let before = format!("record,period,amount,currency,rows,sha256\r\n{rows}");
        format!("{before}end,2026-02,7,MAD,{count},{}\r\n", sha256(before.as_bytes()))
    }

    fn rows(format: ExportFormat, bytes: &[u8], step: usize) -> Result<u64, Error> {
        let mut whole = Whole::new(format);
        bytes.chunks(step).try_for_each(|part| whole.take(part))?;
        whole.rows()
    }

    #[test]
    fn a_quoted_cell_may_hold_lines_and_even_the_words_of_an_end() {
        let text = csv("line,\"a\nend,\"\"b\"\"\r\n\",1,MAD,,\r\nline,c,6,MAD,,\r\n", 2);
        for step in [1, 2, 7, 4096] {
            assert_eq!(rows(ExportFormat::Csv, text.as_bytes(), step).unwrap(), 2, "{step}");
        }
        assert_eq!(rows(ExportFormat::Csv, csv("", 0).as_bytes(), 3).unwrap(), 0);
    }

    #[test]
    fn wherever_it_is_cut_it_is_not_whole() {
        let csv = csv("line,a,1,MAD,,\r\nline,b,6,MAD,,\r\n", 2);
        let before = "{\"record\":\"line\"}\n{\"record\":\"line\"}\n";
        let hash = sha256(before.as_bytes());
        let json = format!(
            "{before}{{\"record\":\"end\",\"rows\":2,\"minor\":\"7\",\"currency\":\"MAD\",\"sha256\":\"{hash}\"}}\n"
        );
        for (format, text) in [(ExportFormat::Csv, csv), (ExportFormat::Ndjson, json)] {
            assert_eq!(rows(format, text.as_bytes(), 5).unwrap(), 2);
            for length in 0..text.len() {
                let cut = rows(format, &text.as_bytes()[..length], 5).unwrap_err();
                assert!(cut.exit() == 6 && cut.to_string().contains("is not whole"), "{length}: {cut}");
            }
            let other = text.replacen("line", "lime", 1);
            let other = rows(format, other.as_bytes(), 5).unwrap_err().to_string();
            assert!(other.contains("another one"), "{other}");
            let (first, rest) = text.split_at(text.find("line").unwrap());
            let less = format!("{first}{}", rest.split_once('\n').unwrap().1);
            assert!(rows(format, less.as_bytes(), 5).is_err(), "{less}");
            let twice = rows(format, format!("{text}{text}").as_bytes(), 5).unwrap_err().to_string();
            assert!(twice.contains("has 2 rows"), "{twice}");
        }
    }

    #[test]
    fn a_record_without_an_end_is_no_export() {
        let long = vec![b'a'; LONGEST_RECORD + 1];
        assert!(rows(ExportFormat::Ndjson, &long, long.len()).unwrap_err().to_string().contains("no export"));
    }
}
