//! Snippets that work when pasted.

use maud::{Markup, html};

use acequia_custody::Tier;

use crate::catalogue::is_large;
use crate::{PublishedVersion, admission};

/// A tool and the text to paste.
struct Snippet {
    tool: &'static str,
    note: &'static str,
    text: String,
}

/// Section: use it.
pub(super) fn section(version: &PublishedVersion, address: &str) -> Markup {
    html! {
        section #use aria-labelledby="use-title" {
            h2 #use-title { "Use it" }
            @if version.tier() == Tier::Open {
                p { "No account, no token. Each snippet names this version, which never changes." }
            } @else {
                p { "The rows are for " (admission::in_words(version.tier())) ": "
                    a href=(admission::page(version)) { "how to get access" }
                    ". Then make a token on your account page and put it into the environment variable " code { "HF_TOKEN" }
                    "; the snippets for R, pandas and curl need it as the header " code { "Authorization: Bearer TOKEN" } "." }
                p { "Each snippet names this version, which never changes." }
            }
            @for (at, snippet) in snippets(version, address).iter().enumerate() {
                @let id = format!("use-{at}");
                h3 #(id) { (snippet.tool) }
                @if !snippet.note.is_empty() { p { (snippet.note) } }
                pre role="region" tabindex="0" aria-labelledby=(id) { code { (snippet.text) } }
            }
        }
    }
}

fn snippets(version: &PublishedVersion, address: &str) -> Vec<Snippet> {
    let manifest = version.manifest();
    let (id, tag, commit) = (manifest.dataset.to_string(), version.tag(), version.commit());
    let link = |path: &str| format!("{address}{}", version.file_path(path));
    let tables: Vec<_> = version.files().values().filter(|file| is_large(file)).collect();
    let train = tables.iter().find(|file| file.path.contains("train")).or(tables.first());
    let mut snippets = vec![Snippet {
        tool: "Python: datasets",
        note: "",
        text: format!(
            "# pip install datasets\nimport os\nos.environ[\"HF_ENDPOINT\"] = \"{address}\"  # before the import\n\
             from datasets import load_dataset\n\ndata = load_dataset(\"{id}\", revision=\"{tag}\")\nprint(data)"
        ),
    }];
    if let Some(train) = train {
        snippets.push(Snippet {
            tool: "Python: pandas",
            note: "",
            text: format!(
                "# pip install pandas pyarrow\nimport pandas as pd\n\ntrain = pd.read_parquet(\n    \"{}\"\n)",
                link(&train.path)
            ),
        });
        snippets.push(Snippet {
            tool: "Python: polars",
            note: "Reads only the parts of the file that are asked for.",
            text: format!(
                "# pip install polars\nimport polars as pl\n\ntrain = pl.scan_parquet(\n    \"{}\"\n).collect()",
                link(&train.path)
            ),
        });
        snippets.push(Snippet {
            tool: "R",
            note: "",
            text: format!(
                "# install.packages(\"nanoparquet\")\nfile <- tempfile(fileext = \".parquet\")\n\
                 download.file(\n  \"{}\",\n  file, mode = \"wb\"\n)\ntrain <- nanoparquet::read_parquet(file)",
                link(&train.path)
            ),
        });
    }
    snippets.push(Snippet {
        tool: "Everything: huggingface_hub",
        note: "Downloads all files of the version and resumes where it was broken off.",
        text: format!("# pip install huggingface_hub\nHF_ENDPOINT={address} hf download {id} --repo-type dataset --revision {tag} --local-dir data"),
    });
    if let Some(train) = train {
        let name = train.path.rsplit('/').next().unwrap_or(&train.path);
        snippets.push(Snippet {
            tool: "Shell: curl, with checksum",
            note: "",
            text: format!(
                "curl --fail --location --output {name} \\\n  {}\necho \"{}  {name}\" | sha256sum --check",
                link(&train.path),
                train.sha256
            ),
        });
    }
    if version.files().contains_key("croissant.json") {
        let record_set = train.map_or("train", |file| {
            manifest
                .splits
                .iter()
                .map(|(name, _)| name.as_str())
                .find(|name| file.path.contains(name))
                .unwrap_or("train")
        });
        snippets.push(Snippet {
            tool: "Python: Croissant",
            note: "The machine-readable description, with the checksum of every file.",
            text: format!(
                "# pip install \"mlcroissant[parquet]\"\nimport mlcroissant as mlc\n\n\
                 data = mlc.Dataset(\"{address}/api/datasets/{id}/croissant/{commit}\")\n\
                 for record in data.records(\"{record_set}\"):\n    print(record)\n    break"
            ),
        });
    }
    snippets
}
