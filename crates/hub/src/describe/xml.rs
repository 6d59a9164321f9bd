//! The little of XML 1.0 that harvesters are answered with.

/// Text with what means something in XML escaped, and without what XML 1.0 cannot hold at all.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// `<name attributes>text</name>`; attributes are our own text and come with a leading space.
pub(crate) fn element(name: &str, attributes: &str, text: &str) -> String {
    format!("<{name}{attributes}>{}</{name}>\n", escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(element("a", "", "<b>&\"\u{0}\u{1f}'\u{ffff}é\n"), "<a>&lt;b&gt;&amp;&quot;'é\n</a>\n");
    }
}
