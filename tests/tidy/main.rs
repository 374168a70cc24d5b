//! The house rules, as tests. `cargo tidy` runs them; each says which file, which line, what is wrong there and what
//! would be right.
//!
//! ```text
//!   tree ──▶ lex ──▶ arrows · purity · words · shape · settings · ledger · security     a rule: fn(&Tree) -> Vec<Finding>
//!     │                                                  │           its test:    the rule finds nothing in this tree
//!     └────────────▶ links · claims · dependencies · package ┴▶ finding its witness: the rule finds what is bad in a sample
//! ```
//!
//! A rule that is right in general and wrong in one place has a list of exceptions, each with its reason. The lists
//! shrink. A rule without a witness is no rule: it might be unable to fail.

mod arrows;
mod claims;
mod dependencies;
mod finding;
mod ledger;
mod lex;
mod links;
mod package;
mod purity;
mod security;
mod settings;
mod shape;
mod tree;
mod words;
