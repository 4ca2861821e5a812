//! Large files on shared drives, which are handed out behind a page that asks to confirm.

/// Where a file of Google Drive is asked for.
pub fn url(id: &str) -> String {
    format!("https://drive.google.com/uc?export=download&id={id}")
}

/// The address that the page's form leads to; `None` if it has no form for a download.
pub fn confirmed_url(page: &str, page_url: &str) -> Option<String> {
    let form = between(page, "<form", "</form>")?;
    let action = unescape(&attribute(form, "action")?);
    let mut query = Vec::new();
    for input in form.split("<input").skip(1) {
        let input = input.split('>').next()?;
        if attribute(input, "type").as_deref() == Some("hidden") {
            let (name, value) = (attribute(input, "name")?, attribute(input, "value")?);
            query.push(format!("{}={}", escape(&unescape(&name)), escape(&unescape(&value))));
        }
    }
    let action =
        if action.starts_with('/') { format!("{}{action}", origin(page_url)?) } else { action };
    let joint = if action.contains('?') { '&' } else { '?' };
    (!query.is_empty() && action.starts_with("http"))
        .then(|| format!("{action}{joint}{}", query.join("&")))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)?..];
    Some(&rest[..rest.find(end)?])
}

/// The value of an attribute, which must be in double quotes.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    Some(rest.split('"').next()?.to_owned())
}

fn origin(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    Some(&url[..url[start..].find('/').map_or(url.len(), |end| start + end)])
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

/// Percent-encodes what may not stand in a query.
fn escape(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}
