//! Statements as files, read back by other libraries than those that write them.
#![expect(clippy::unwrap_used, reason = "a test may; the panic is the report")]

mod annex;
mod csv;
mod fixture;
mod focus;
mod pages;
mod tools;
mod workbook;
