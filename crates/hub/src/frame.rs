//! What stands around the content of every page of a node, so that all of them look and work alike.

use maud::{DOCTYPE, Markup, html};

use crate::site::{mark_path, style_path};

/// A page around its content.
pub struct Frame<'a> {
    /// Language of the page, by BCP 47.
    pub language: &'a str,
    /// Title of the document.
    pub title: &'a str,
    /// What the page is about, for lists of pages.
    pub description: &'a str,
    /// Into the head as it is.
    pub head: Markup,
    /// The words of the link that leads past the header.
    pub skip: &'a str,
    /// Name of the navigation, for who hears the page.
    pub navigation: &'a str,
    /// Links of the navigation: address, words, whether it is this very page.
    pub links: &'a [(&'a str, String, bool)],
    /// Behind the links.
    pub beside: Markup,
    /// At the foot of the page.
    pub foot: Markup,
}

impl Frame<'_> {
    /// The whole document.
    pub fn around(&self, main: &Markup) -> String {
        let page = html! {
            (DOCTYPE)
            html lang=(self.language) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    meta name="description" content=(self.description);
                    link rel="stylesheet" href=(style_path());
                    link rel="icon" type="image/svg+xml" href=(mark_path());
                    (self.head)
                }
                body {
                    a.skip href="#main" { (self.skip) }
                    header.site {
                        div.frame {
                            a.wordmark href="/" { (mark()) span { "Acequia" } }
                            nav aria-label=(self.navigation) {
                                ul {
                                    @for (address, words, here) in self.links {
                                        li { a href=(address) aria-current=[here.then_some("page")] { (words) } }
                                    }
                                }
                            }
                            (self.beside)
                        }
                    }
                    main #main tabindex="-1" { (main) }
                    footer.site { div.frame { (self.foot) } }
                }
            }
        };
        page.into_string()
    }
}

/// A channel that passes a gate and branches into fields.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 40 40" width="32" height="32" aria-hidden="true" focusable="false" {
            g.water fill="none" stroke-width="4" stroke-linecap="round" {
                path d="M3 22C9 17 13 27 19 22" {}
                path d="M19 22C25 17 27 10 37 10" {}
                path d="M19 22C25 19 29 24 37 22" {}
                path d="M19 22C25 27 27 34 37 34" {}
            }
            path.sluice d="M11 25V7M6 7h10" fill="none" stroke-width="3" stroke-linecap="round" {}
        }
    }
}
