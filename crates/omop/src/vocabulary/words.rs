//! Words of a name: what search and ranking compare.

use std::io;

/// Longest word in bytes; a longer one is cut.
const LONGEST: usize = 40;

/// Hands each word of a text to `each`: runs of letters and digits in lower case, Latin letters without their marks. A
/// dot between digits stays (`0.5`).
pub(super) fn words(text: &str, mut each: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let mut word = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let inside_number = character == '.'
            && word.bytes().all(|byte| byte.is_ascii_digit())
            && !word.is_empty()
            && characters.peek().is_some_and(char::is_ascii_digit);
        if character.is_alphanumeric() || inside_number {
            if word.len() < LONGEST {
                plain(character, &mut word);
            }
        } else if !word.is_empty() {
            each(&word)?;
            word.clear();
        }
    }
    if word.is_empty() { Ok(()) } else { each(&word) }
}

/// Appends a letter in lower case and without marks.
fn plain(character: char, into: &mut String) {
    if character.is_ascii() {
        into.push(character.to_ascii_lowercase());
        return;
    }
    for lower in character.to_lowercase() {
        match lower {
            'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' | 'ä' => into.push('a'),
            'ç' | 'ć' | 'č' => into.push('c'),
            'ď' | 'đ' => into.push('d'),
            'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => into.push('e'),
            'ğ' => into.push('g'),
            'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => into.push('i'),
            'ł' | 'ľ' | 'ĺ' => into.push('l'),
            'ñ' | 'ń' | 'ň' => into.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ő' | 'ö' => into.push('o'),
            'ř' | 'ŕ' => into.push('r'),
            'ś' | 'š' | 'ş' | 'ș' => into.push('s'),
            'ß' => into.push_str("ss"),
            'ť' | 'ţ' | 'ț' => into.push('t'),
            'ù' | 'ú' | 'û' | 'ū' | 'ů' | 'ű' | 'ų' | 'ü' => into.push('u'),
            'ý' | 'ÿ' => into.push('y'),
            'ź' | 'ż' | 'ž' => into.push('z'),
            'æ' => into.push_str("ae"),
            'œ' => into.push_str("oe"),
            'µ' | 'μ' => into.push('u'),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_plain() {
        let mut found = Vec::new();
        words("Glucosé [Mass/volume] 0.5 MG/ML. in Blood-20.", |word| {
            found.push(word.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, ["glucose", "mass", "volume", "0.5", "mg", "ml", "in", "blood", "20"]);
    }
}
