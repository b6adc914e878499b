//! Rules about one source file: module documentation, lengths, names, words.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::words;

/// No file is longer before its tests: beyond it two responsibilities share a file.
const FILE_MAX: usize = 450;
/// What files aim at.
const FILE_AIM: usize = 250;
/// No function is longer: it fits a screen with its documentation.
const FUNCTION_MAX: usize = 70;

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Line and complaint.
    pub(super) wrong: Vec<(usize, String)>,
    /// Something to know that is no fault.
    pub(super) notice: Option<String>,
}

/// Checks the text of one file; an error when it is no Rust.
pub(super) fn check(text: &str) -> Result<Found, String> {
    let file = syn::parse_file(text).map_err(|error| format!("does not parse: {error}"))?;
    let mut found = Found { wrong: words::banned_lines(text), notice: None };
    if !text.trim_start_matches("#!").starts_with("//!") {
        found.wrong.push((1, "the file does not open with a `//!` page on what it is".to_owned()));
    }
    let length = lines_before_tests(&file, text);
    if length > FILE_MAX {
        found.wrong.push((
            length,
            format!("{length} lines before tests, {FILE_MAX} at most: split by responsibility"),
        ));
    } else if length > FILE_AIM {
        found.notice = Some(format!("{length} lines before tests, files aim at {FILE_AIM}"));
    }
    let mut names = Names { wrong: Vec::new() };
    names.visit_file(&file);
    found.wrong.extend(names.wrong);
    found.wrong.sort();
    Ok(found)
}

/// Lines up to the first module that holds tests, or all.
fn lines_before_tests(file: &syn::File, text: &str) -> usize {
    let tests = file.items.iter().find_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_some() => {
            module.attrs.iter().find(|attribute| is_cfg_test(attribute)).map(line)
        }
        _ => None,
    });
    tests.map_or_else(|| text.lines().count(), |line| line - 1)
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
}

fn line(spanned: &impl Spanned) -> usize {
    spanned.span().start().line
}

/// Walks a file and looks at the names of types and functions, and at the length of functions.
struct Names {
    wrong: Vec<(usize, String)>,
}

impl Names {
    fn of_type(&mut self, name: &syn::Ident) {
        self.wrong.extend(words::type_name(&name.to_string()).map(|what| (line(name), what)));
    }

    fn of_function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let name = signature.ident.to_string();
        let first = line(signature);
        self.wrong.extend(words::function_name(&name).map(|what| (first, what)));
        let close: Span = body.brace_token.span.close();
        let length = close.end().line + 1 - first;
        if length > FUNCTION_MAX {
            self.wrong.push((first, format!("function `{name}` has {length} lines, {FUNCTION_MAX} at most")));
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.of_type(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.of_type(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.of_type(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.of_type(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.of_function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.of_function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.of_function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        check(text).unwrap().wrong.into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn a_file_needs_a_page_on_what_it_is() {
        assert!(complaints("//! What it is.\n").is_empty());
        assert_eq!(complaints("// What it is.\n").len(), 1);
        assert_eq!(complaints("/// A use.\nuse a::b;\n").len(), 1);
    }

    #[test]
    fn lines_in_tests_do_not_count_and_a_declared_test_file_does_not_end_the_count() {
        let long = "const A: u8 = 0;\n".repeat(FILE_MAX);
        let tests = format!("//! Page.\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert!(complaints(&tests).is_empty());
        let declared = format!("//! Page.\n#[cfg(test)]\nmod far_tests;\n{long}");
        assert_eq!(complaints(&declared).len(), 1);
    }

    #[test]
    fn a_function_may_have_its_limit_and_no_line_more() {
        let body =
            |lines: usize| format!("//! Page.\nimpl A {{\n fn f() {{\n{} }}\n}}\n", "a();\n".repeat(lines));
        assert!(complaints(&body(FUNCTION_MAX - 2)).is_empty());
        assert_eq!(complaints(&body(FUNCTION_MAX - 1)).len(), 1);
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_confuse_the_length() {
        let text = "//! Page.\nfn f() {\n let a = \"{{{\"; // {{\n let b = '{';\n}\n";
        assert!(complaints(text).is_empty());
    }

    #[test]
    fn names_inside_functions_and_traits_are_seen() {
        let text = "//! Page.\ntrait T { fn get_a() {} }\nfn f() { struct LoopHelper; }\n";
        assert_eq!(complaints(text).len(), 2);
    }

    #[test]
    fn text_that_is_no_rust_is_an_error() {
        assert!(check("//! Page.\nfn {").is_err());
    }
}
