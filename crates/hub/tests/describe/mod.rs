//! What catalogues and harvesters read. That RDF conforms to its shapes is checked by pySHACL in crate `it`.

use acequia_types::Digest;
use serde_json::{Value, json};

use crate::{DATASET, TRAIN, app, ask, file, get, newest, sample};
use acequia_hub::{Catalogue, router};
use std::collections::BTreeMap;
use std::sync::Arc;

const VERSION: &str = "/datasets/acequia/sample-survival/v/1.1.0";
const ADDRESS: &str = "http://node.example:8080";

async fn form(name: &str) -> crate::Answer {
    get(&app().0, &format!("{VERSION}/{name}")).await
}

#[tokio::test]
async fn turtle_and_json_ld_say_what_the_version_says() {
    let turtle = form("dcat.ttl").await.text();
    for said in [
        "a dcat:Dataset",
        "access-right/PUBLIC>",
        "http://data.europa.eu/eli/reg/2025/327/oj",
        "data-theme/HEAL>",
        "healthcategories/EHRS>",
        "\"3000\"^^xsd:nonNegativeInteger",
        "csvw:name \"age_years\"",
        "a cv:ContactPoint",
        "dcat:previousVersion <http://node.example:8080/datasets/acequia/sample-survival/v/1.0.0>",
        "odrl:prohibition",
        "odrl:action odrl:attribute",
        "dcatap:applicableLegislation <http://data.europa.eu/eli/reg/2025/327/oj>",
        "planned-availability/STABLE>",
        "dct:title \"Survival after breast cancer\"@en",
        "spdx:checksumAlgorithm_sha256",
        "healthdcatap:hasStructuredData true",
        "survival & \\\"more\\\" <so>",
    ] {
        assert!(turtle.contains(said), "{said}\n{turtle}");
    }
    let document = form("dcat.jsonld").await.json();
    assert!(document.to_string().contains("http://www.w3.org/ns/dcat#Distribution"));
}

#[tokio::test]
async fn what_nobody_stated_is_not_made_up() {
    let memory = sample::Memory::default();
    memory.publish("acequia/bare", "1.0.0", "Bare", [1, 1, 1], BTreeMap::new(), 0);
    let app = router(Arc::new(memory));
    let turtle = get(&app, "/datasets/acequia/bare/v/1.0.0/dcat.ttl").await.text();
    assert!(turtle.contains("foaf:name \"acequia\"") && turtle.contains("dct:title \"Bare\""), "{turtle}");
    // Nobody told its language, nor what HealthDCAT-AP alone asks for.
    for made_up in
        ["healthdcatap:hdab <", "@en", "dct:language", "dcatap:applicableLegislation <", "STABLE", "odrl:duty"]
    {
        assert!(!turtle.contains(made_up), "{made_up}: {turtle}");
    }
    let feed = get(&app, "/catalogue.ttl").await.text();
    assert!(!feed.contains("dcatap:applicableLegislation <") && feed.contains("a dcat:DataService"), "{feed}");
    let own = async |name: &str| get(&app, &format!("/datasets/acequia/bare/v/1.0.0/{name}")).await;
    let datacite = own("datacite.json").await.json();
    assert_eq!((datacite.get("language"), &datacite["titles"][0]), (None, &json!({ "title": "Bare" })));
    assert!(!own("datacite.xml").await.text().contains("<language>"));
    assert_eq!(own("schema.jsonld").await.json().get("inLanguage"), None);
    assert!(!own("ro-crate-metadata.json").await.text().contains("endTime"));
    let record = "/oai?verb=GetRecord&metadataPrefix=oai_dc&identifier=oai:node.example:acequia/bare";
    assert!(!get(&app, record).await.text().contains("<dc:language>"));
    // The protocol demands an address; this one is nobody's (RFC 2606).
    let identify = get(&app, "/oai?verb=Identify").await.text();
    assert!(identify.contains("<adminEmail>not-stated@operator.invalid</adminEmail>"), "{identify}");
    let page = crate::tabs(&app, "acequia/bare").await;
    assert!(page.contains("<dt>rows</dt>") && !page.contains("people, one row each"));
    assert!(
        page.contains(
            "HealthDCAT-AP also asks for: health.categories, health.access_body, publisher.contact, columns."
        )
    );
    for name in
        ["schema.jsonld", "datacite.json", "datacite.xml", "ro-crate-metadata.json", "citation.bib", "CITATION.cff"]
    {
        assert_eq!(get(&app, &format!("/datasets/acequia/bare/v/1.0.0/{name}")).await.status, 200, "{name}");
    }
    assert_eq!(get(&app, "/datasets/acequia/bare/v/1.0.0/croissant.jsonld").await.status, 404);
}

#[tokio::test]
async fn a_description_is_the_same_each_time() {
    for name in [
        "dcat.ttl",
        "dcat.jsonld",
        "schema.jsonld",
        "datacite.json",
        "datacite.xml",
        "ro-crate-metadata.json",
        "linkset.json",
        "citation.json",
    ] {
        let (first, again) = (form(name).await, form(name).await);
        assert!(first.body == again.body && first.header("etag") == again.header("etag"), "{name}");
    }
}

#[tokio::test]
async fn citations() {
    let datacite = form("datacite.json").await.json();
    assert_eq!(datacite["alternateIdentifiers"][0]["alternateIdentifier"], format!("{ADDRESS}{VERSION}"));
    assert_eq!(datacite["publicationYear"], "2026");
    assert_eq!(datacite["rightsList"][0]["rightsIdentifier"], "CC-BY-4.0");
    let relation = |kind: &str| {
        let all = datacite["relatedIdentifiers"].as_array().unwrap().iter();
        all.filter(|one| one["relationType"] == kind).count()
    };
    assert_eq!((relation("IsVersionOf"), relation("IsNewVersionOf"), relation("HasMetadata")), (1, 1, 1));
    let xml = form("datacite.xml").await.text();
    assert!(xml.contains("<publisher>A trustee &lt;of&gt; &quot;tests&quot;</publisher>"), "{xml}");
    let csl = form("citation.json").await.json();
    assert_eq!(csl["issued"]["date-parts"], json!([[2026, 11, 20]]));
    assert!(form("CITATION.cff").await.text().contains("- name: \"Acequia\"\n"));
    let entry = form("citation.bib").await.text();
    // One key and one address in every form, whatever the version's own documents have.
    let key = csl["id"].as_str().unwrap();
    assert!(
        entry.starts_with(&format!("@dataset{{{key},")) && entry.contains(&format!("url = {{{ADDRESS}{VERSION}}}")),
        "{entry}"
    );
    for told in ["valueURI=\"http://purl.obolibrary.org/obo/DUO_", "rightsIdentifier=\"CC-BY-4.0\"", " rows</size>"] {
        assert!(xml.contains(told), "{told}: {xml}");
    }
}

/// What TeX reads as commands is written so that it is read as text.
#[tokio::test]
async fn a_citation_survives_tex() {
    let memory = sample::Memory::default();
    memory.publish("acequia/bare", "1.0.0", "50 % of A & B_C {x} \\# ~^", [1, 1, 1], BTreeMap::new(), 0);
    let app = router(Arc::new(memory));
    let entry = get(&app, "/datasets/acequia/bare/v/1.0.0/citation.bib").await.text();
    let title = r"title = {50 \% of A \& B\_C x \# \textasciitilde{}\textasciicircum{}},";
    assert!(entry.starts_with("@dataset{acequia-bare-1.0.0,\n") && entry.contains(title), "{entry}");
    assert!(entry.contains("author = {{acequia}}"), "{entry}");
}

/// Who asks the address of a thing for a form of its description is sent to that form.
#[tokio::test]
async fn forms_are_found_at_the_address_of_the_thing() {
    let (app, _) = app();
    let asked = async |path: &str, accept: &str| {
        let answer = ask(&app, "GET", path, &[("accept", accept)], "").await;
        (
            answer.status.as_u16(),
            answer.header("location").strip_prefix(VERSION).unwrap_or(answer.header("location")).to_owned(),
        )
    };
    for (accept, form) in [
        ("text/turtle", "/dcat.ttl"),
        ("application/ld+json", "/schema.jsonld"),
        ("application/ld+json;profile=\"http://mlcommons.org/croissant/1.1\"", "/croissant.jsonld"),
        ("application/vnd.datacite.datacite+json", "/datacite.json"),
        ("application/x-bibtex", "/citation.bib"),
        ("application/vnd.citationstyles.csl+json", "/citation.json"),
    ] {
        assert_eq!(asked(VERSION, accept).await, (303, form.to_owned()), "{accept}");
    }
    for accept in ["text/html,application/ld+json", "*/*", "image/png"] {
        assert_eq!(asked(VERSION, accept).await.0, 200, "{accept}");
    }
    for (accept, to) in [
        ("text/turtle", "/catalogue.ttl"),
        ("application/ld+json", "/catalogue.jsonld"),
        ("text/html", "/"),
        ("*/*", "/"),
    ] {
        assert_eq!(asked("/catalogue", accept).await, (303, to.to_owned()), "{accept}");
    }
    let croissant = get(&app, &format!("{VERSION}/croissant.jsonld")).await;
    assert_eq!(croissant.header("link"), format!("<{ADDRESS}{VERSION}>; rel=\"describes\""));
    assert!(get(&app, VERSION).await.text().contains("<link rel=\"linkset\" type=\"application/linkset+json\""));
    let feed = get(&app, "/catalogue.ttl").await.text();
    let service = feed.split("dcat:endpointURL <").nth(1).and_then(|rest| rest.split('>').next()).unwrap();
    assert_eq!(get(&app, service.strip_prefix(ADDRESS).unwrap()).await.status, 200);
}

/// Every file that a crate names lies beside it, with the digest it states.
#[tokio::test]
async fn a_crate_lies_beside_its_files() {
    let (app, _) = app();
    let document = get(&app, &format!("{VERSION}/ro-crate-metadata.json")).await.json();
    let graph = document["@graph"].as_array().unwrap();
    let root = graph.iter().find(|entity| entity["@id"] == "./").unwrap();
    let files: Vec<&Value> = graph.iter().filter(|entity| entity["@type"] == "File").collect();
    assert_eq!(root["hasPart"].as_array().unwrap().len(), files.len());
    for file in files {
        let answer = get(&app, &format!("{VERSION}/{}", file["@id"].as_str().unwrap())).await;
        assert_eq!(file["sha256"], Digest::of(&answer.body).to_string());
        assert_eq!(file["contentSize"], answer.body.len().to_string());
    }
    // Every reference inside the document leads to an entity of it.
    let ids: Vec<&Value> = graph.iter().map(|entity| &entity["@id"]).collect();
    for reference in ["author", "hasPart", "variableMeasured"] {
        let all = root[reference].as_array().unwrap();
        assert!(!all.is_empty() && all.iter().all(|one| ids.contains(&&one["@id"])), "{reference}");
    }
}

#[tokio::test]
async fn signposts() {
    let (app, _) = app();
    let page = get(&app, VERSION).await;
    let header = page.header("link").to_owned();
    let set = get(&app, &format!("{VERSION}/linkset.json")).await.json();
    let own = &set["linkset"][0];
    for relation in ["cite-as", "describedby", "item", "license", "type", "author"] {
        assert!(header.contains(&format!("rel=\"{relation}\"")), "{relation}: {header}");
        for link in own[relation].as_array().unwrap() {
            assert!(header.contains(&format!("<{}>", link["href"].as_str().unwrap())), "{link}");
        }
    }
    assert!(header.contains("/linkset.json>; rel=\"linkset\"; type=\"application/linkset+json\""));
    for link in own["describedby"].as_array().unwrap() {
        let path = link["href"].as_str().unwrap().strip_prefix(ADDRESS).unwrap();
        let answer = get(&app, path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, link["type"].as_str().unwrap()));
        assert!(answer.header("link").contains("rel=\"describes\"") || path.ends_with("croissant.jsonld"));
    }
    for (accept, form) in [("text/turtle", "dcat.ttl"), ("application/ld+json", "schema.jsonld")] {
        let answer = ask(&app, "GET", VERSION, &[("accept", accept)], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, format!("{VERSION}/{form}").as_str()));
    }
    let browser = ask(&app, "GET", VERSION, &[("accept", "text/html,application/ld+json;q=0.9,*/*;q=0.8")], "").await;
    assert_eq!(browser.status, 200);
}

#[tokio::test]
async fn repository_service_objects() {
    let (app, memory) = app();
    let (commit, parquet, bytes) = file(&memory, TRAIN);
    let object = get(&app, &format!("/ga4gh/drs/v1/objects/{}", parquet.sha256)).await.json();
    assert_eq!(object["self_uri"], format!("drs://node.example:8080/{}", parquet.sha256));
    assert_eq!((&object["size"], &object["checksums"][0]["type"]), (&json!(parquet.bytes), &json!("sha-256")));
    let url = object["access_methods"][0]["access_url"]["url"].as_str().unwrap();
    assert_eq!(get(&app, url.strip_prefix(ADDRESS).unwrap()).await.body, bytes);
    let bundle = get(&app, &format!("/ga4gh/drs/v1/objects/{commit}")).await.json();
    let contents = bundle["contents"].as_array().unwrap();
    assert_eq!(contents.len(), newest(&memory.shelf()).files().len());
    let mut sums: Vec<&str> = contents.iter().map(|one| one["id"].as_str().unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(bundle["checksums"][0]["checksum"], Digest::of(sums.concat().as_bytes()).to_string());
    for id in sums {
        assert_eq!(get(&app, &format!("/ga4gh/drs/v1/objects/{id}")).await.status, 200);
    }
    let is_name = |name: &Value| {
        let text = name.as_str().unwrap_or_default();
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    assert!(is_name(&object["name"]) && is_name(&bundle["name"]), "{bundle}");
    assert!(contents.iter().all(|one| is_name(&one["name"])), "{bundle}");
    let info = get(&app, "/ga4gh/drs/v1/service-info").await.json();
    assert_eq!(info["type"], json!({"group": "org.ga4gh", "artifact": "drs", "version": "1.4.0"}));
    assert_eq!(get(&app, "/ga4gh/drs/v1/objects/x").await.json()["status_code"], 404);
}

/// Paths that are one name as DRS has them are two in a bundle.
#[tokio::test]
async fn names_in_a_bundle_are_unique() {
    let memory = sample::Memory::default();
    let files = ["a/b c.txt", "a_b_c.txt", "a/b_c.txt", "ä/b c.txt"];
    let files = files.map(|path| (path.to_owned(), bytes::Bytes::from(path)));
    memory.publish("acequia/names", "1.0.0", "Names", [1, 1, 1], files.into(), 0);
    let commit = memory.shelf().served().next().unwrap().commit().to_owned();
    let app = router(Arc::new(memory));
    let bundle = get(&app, &format!("/ga4gh/drs/v1/objects/{commit}")).await.json();
    let contents = bundle["contents"].as_array().unwrap();
    let names: std::collections::BTreeSet<&str> = contents.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), contents.len()), (5, 5), "{names:?}");
    assert!(names.iter().all(|name| !name.contains(['/', ' ', 'ä'])), "{names:?}");
}

#[tokio::test]
async fn a_header_stays_short_and_the_link_set_is_whole() {
    let memory = sample::Memory::default();
    let files =
        (0..500).map(|at| (format!("data/train-{at:05}-of-00500.parquet"), bytes::Bytes::from(format!("{at}"))));
    memory.publish("acequia/shards", "1.0.0", "Shards", [1, 1, 1], files.collect(), 0);
    let app = router(Arc::new(memory));
    let page = get(&app, "/datasets/acequia/shards").await;
    assert!((2_000..3_500).contains(&page.header("link").len()), "{}", page.header("link").len());
    let set = get(&app, "/datasets/acequia/shards/v/1.0.0/linkset.json").await.json();
    assert_eq!(set["linkset"][0]["item"].as_array().unwrap().len(), 500);
}

/// Many data sets: pages of the feed and lists of OAI-PMH together name each exactly once.
#[tokio::test]
async fn harvesting_in_pages() {
    let many = sample::Memory::default();
    for at in 0..123 {
        many.publish(
            &format!("acequia/set-{at:03}"),
            "1.0.0",
            "Set & <more>",
            [1, 1, 1],
            BTreeMap::new(),
            1_700_000_000 + at,
        );
    }
    let app = router(Arc::new(many));
    let mut target = "/catalogue.ttl".to_owned();
    let mut named = Vec::new();
    for page in 1.. {
        let answer = get(&app, &target).await;
        let text = answer.text();
        named.extend((0..123).filter(|at| text.contains(&format!("/set-{at:03}/v/1.0.0> a dcat:Dataset"))));
        let link = answer.header("link").to_owned();
        let next = link.split(", ").find(|link| link.ends_with("rel=\"next\""));
        match next.and_then(|next| next.split(['<', '>']).nth(1)) {
            Some(next) => {
                assert!(text.contains(&format!("hydra:next <{next}>")));
                target = next.strip_prefix(ADDRESS).unwrap().to_owned();
            }
            None => {
                assert_eq!(page, 3);
                break;
            }
        }
    }
    assert_eq!(named, (0..123).collect::<Vec<_>>());

    for (verb, prefix) in [("ListRecords", "oai_dc"), ("ListIdentifiers", "oai_dc"), ("ListRecords", "datacite")] {
        let mut target = format!("/oai?verb={verb}&metadataPrefix={prefix}");
        let mut seen = 0;
        let mut pages = 0;
        loop {
            let text = get(&app, &target).await.text();
            pages += 1;
            seen += text.matches("<identifier>oai:node.example:acequia/set-").count();
            let token =
                text.split("cursor=\"").nth(1).and_then(|rest| rest.split(['>', '<']).nth(1)).unwrap_or_default();
            if token.is_empty() {
                break;
            }
            assert!(text.contains("completeListSize=\"123\""));
            target = format!("/oai?verb={verb}&resumptionToken={}", token.replace('!', "%21").replace('/', "%2F"));
        }
        assert_eq!((seen, pages), (123, 3), "{verb} {prefix}");
    }
    let day = get(
        &app,
        "/oai?verb=ListIdentifiers&metadataPrefix=oai_dc&from=2023-11-14T22:14:00Z&until=2023-11-14T22:14:09Z",
    )
    .await;
    assert_eq!(day.text().matches("<header>").count(), 10);
}

#[tokio::test]
async fn errors_of_harvesting() {
    let (app, _) = app();
    let name = "oai:node.example:acequia/sample-survival";
    for (query, code) in [
        ("", "badVerb"),
        ("verb=Nonsense", "badVerb"),
        ("verb=Identify&verb=Identify", "badVerb"),
        ("verb=Identify&x=1", "badArgument"),
        ("verb=ListRecords", "badArgument"),
        ("verb=ListRecords&metadataPrefix=marc", "cannotDisseminateFormat"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=yesterday", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-01-01&until=2026-01-01T00:00:00Z", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2027-01-02&until=2027-01-01", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-02-30", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&until=2026-13-01", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-01-01T24:00:00Z", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-01-01T00:00:00.5Z", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-01-01T00:00:00%2B01:00", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&until=1999-01-01", "noRecordsMatch"),
        ("verb=ListRecords&metadataPrefix=oai_dc&set=x", "noRecordsMatch"),
        ("verb=ListRecords&metadataPrefix=oai_dc&set=models", "noRecordsMatch"),
        ("verb=ListRecords&metadataPrefix=oai_dc&set=", "noRecordsMatch"),
        ("verb=ListSets&resumptionToken=x", "badResumptionToken"),
        ("verb=ListSets&x=1", "badArgument"),
        ("verb=ListRecords&resumptionToken=x", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!!!!zzz", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=marc!!!!a", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!yesterday!!!a", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!!1999-01-01!!a", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!!!!a!b", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!!!!a&metadataPrefix=oai_dc", "badArgument"),
        ("verb=GetRecord&metadataPrefix=oai_dc", "badArgument"),
        ("verb=ListRecords&resumptionToken=oai_dc!!!a", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!!!!zzz/zzz", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=oai_dc!!!models!acequia/sample-survival", "badResumptionToken"),
        ("verb=GetRecord&metadataPrefix=oai_dc&identifier=oai:node.example:no/such", "idDoesNotExist"),
        (
            "verb=GetRecord&metadataPrefix=oai_dc&identifier=oai:node.example:datasets/acequia/sample-survival",
            "idDoesNotExist",
        ),
        (
            "verb=GetRecord&metadataPrefix=oai_dc&identifier=oai:node.example:models/acequia/sample-survival",
            "idDoesNotExist",
        ),
        ("verb=ListMetadataFormats&identifier=nothing", "idDoesNotExist"),
    ] {
        let answer = get(&app, &format!("/oai?{query}")).await.text();
        assert!(answer.contains(&format!("<error code=\"{code}\">")), "{query}: {answer}");
    }
    let record = get(&app, &format!("/oai?verb=GetRecord&metadataPrefix=oai_dc&identifier={name}")).await.text();
    assert!(record.contains("<dc:subject>survival &amp; &quot;more&quot; &lt;so&gt;</dc:subject>"), "{record}");
}

/// A record's header in a harvest, from the seconds `from` on.
async fn harvested(app: &axum::Router, from: &str) -> Option<String> {
    let list = get(app, &format!("/oai?verb=ListRecords&metadataPrefix=oai_dc&from={from}")).await.text();
    let mut records = list.split("<record>").skip(1).map(str::to_owned);
    records.find(|record| record.contains(&format!("<identifier>oai:node.example:{DATASET}</identifier>")))
}

/// Who harvests what changed learns of everything that was taken down.
#[tokio::test]
async fn what_was_taken_down_is_a_deleted_record() {
    let (app, memory) = app();
    assert!(get(&app, "/oai?verb=Identify").await.text().contains("<deletedRecord>persistent</deletedRecord>"));
    let down = "2027-01-04T22:00:00Z";
    assert_eq!(harvested(&app, down).await, None);
    // An older version goes: the record is of the same version and says something else of the one before.
    memory.take_down(DATASET, "1.0.0", Some("1.1.0"));
    let record = harvested(&app, down).await.unwrap();
    assert!(record.contains(&format!("<datestamp>{down}</datestamp>")) && record.contains("/v/1.1.0</dc:identifier>"));
    memory.take_down(DATASET, "1.1.0", None);
    for target in
        [down.to_owned(), down[..10].to_owned(), format!("{down}&until={down}"), format!("{0}&until={0}", &down[..10])]
    {
        let record = harvested(&app, &target).await.unwrap();
        assert!(record.contains("<header status=\"deleted\">") && !record.contains("<metadata>"), "{record}");
    }
    assert_eq!(harvested(&app, "2027-01-04T22:00:01Z").await, None);
    assert!(get(&app, "/oai?verb=ListRecords&metadataPrefix=oai_dc&until=2027-01-03").await.status == 200);
    let own = format!("oai:node.example:{DATASET}");
    let one = get(&app, &format!("/oai?verb=GetRecord&metadataPrefix=datacite&identifier={own}")).await.text();
    assert!(one.contains("<header status=\"deleted\">") && !one.contains("<metadata>"), "{one}");
    let names = get(&app, "/oai?verb=ListIdentifiers&metadataPrefix=oai_dc").await.text();
    assert_eq!((names.matches("<header").count(), names.matches("status=\"deleted\"").count()), (2, 1), "{names}");
}

#[tokio::test]
async fn harvesters_may_post() {
    let (app, _) = app();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let query = "verb=ListIdentifiers&metadataPrefix=oai_dc&from=2020-01-01";
    let posted = ask(&app, "POST", "/oai", &form, query).await;
    let of = |text: String| text.split_once("<request").map(|(_, rest)| rest.to_owned()).unwrap();
    assert_eq!(posted.status, 200);
    assert_eq!(of(posted.text()), of(get(&app, &format!("/oai?{query}")).await.text()));
    assert!(ask(&app, "POST", "/oai", &form, "").await.text().contains("badVerb"));
    assert_eq!(ask(&app, "POST", "/oai", &form, &"verb=a&".repeat(200_000)).await.status, 413);
    let put = ask(&app, "PUT", "/oai", &form, query).await;
    assert_eq!((put.status.as_u16(), put.header("allow")), (405, "GET, HEAD, POST"));
}

#[tokio::test]
async fn refusals_are_problem_details_too() {
    let (app, _) = app();
    let target = "/api/datasets/acequia/none";
    let plain = get(&app, target).await;
    assert_eq!((plain.status.as_u16(), plain.header("content-type")), (404, "application/json"));
    let problem = ask(&app, "GET", target, &[("accept", "application/problem+json, */*")], "").await;
    assert_eq!(problem.header("content-type"), "application/problem+json");
    assert_eq!(problem.json(), plain.json());
    let told = plain.json();
    assert_eq!((&told["status"], &told["code"]), (&json!(404), &json!("RepoNotFound")));
    assert_eq!(plain.header("x-error-message"), told["detail"].as_str().unwrap());
    let place = told["type"].as_str().unwrap().strip_prefix("/problems#").unwrap().to_owned();
    assert!(get(&app, "/problems").await.text().contains(&format!("id=\"{place}\"")));
}
