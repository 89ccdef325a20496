//! `tally catalog`: the resource catalog that rows are judged by.

use super::{Client, ConfigFile, Exit, Failure, answer::write, charter::content};
use clap::Subcommand;
use serde_json::json;
use std::{io::Cursor, path::PathBuf, sync::Arc};
use tally_sheet::{Column, text::pad, write_csv_row, write_xlsx};
use tally_topology::{
    catalog::{Catalog, Catalogs, Category, Condition, Field, FieldType, Severity},
    charter::Charter,
    toml_fault::TomlFault,
};

#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// Show the categories, or the fields of one.
    Show {
        /// Category.
        category: Option<String>,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: CatalogPlace,
    },
    /// Check the catalog in a charter's text, or in a file of `[[catalog]]` alone.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Write an empty table with the heads of a category, its code lists to choose from, and a page of notes.
    Template {
        /// Category.
        category: String,
        /// Where it is written; the ending says the form: .xlsx or .csv. Default: CATEGORY.xlsx.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        place: CatalogPlace,
    },
}

/// Whose catalog.
#[derive(Debug, clap::Args)]
pub(super) struct CatalogPlace {
    /// The node's tally.toml; without it the catalog that comes with the program.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A version; by default the one in force today.
    #[arg(long, value_name = "V")]
    version: Option<String>,
}

impl CatalogPlace {
    async fn catalog(self) -> Result<Arc<Catalog>, Failure> {
        let catalogs = match self.config {
            None => Catalogs::shipped().map_err(Failure::failed)?,
            Some(config) => ConfigFile::at(config).client()?.charter().await?.catalogs().clone(),
        };
        match &self.version {
            None => Ok(catalogs.current(tally_clock::today()).clone()),
            Some(v) => catalogs.version(v).cloned().ok_or_else(|| {
                let known: Vec<_> = catalogs.versions().iter().map(|c| &*c.version).collect();
                Failure::new(Exit::Usage, format!("there is no version {v:?}; there are: {}", known.join(", ")))
            }),
        }
    }
}

fn category<'c>(catalog: &'c Catalog, id: &str) -> Result<&'c Arc<Category>, Failure> {
    catalog.category(id).or_else(|| catalog.categories().find(|c| &*c.zh == id)).ok_or_else(|| {
        let known: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
        Failure::new(Exit::Usage, format!("there is no category {id:?}; there are: {}", known.join(", ")))
    })
}

/// The identifier of a category that is named by it or in Chinese. One that no version of the node's catalog has is a usage
/// error, and not an answer without rows.
pub(super) async fn known(client: &Client, name: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(name) = name else { return Ok(None) };
    in_charter(&client.charter().await?, name).map(Some)
}

/// The same, of a charter that is there already.
pub(super) fn in_charter(charter: &Charter, name: &str) -> Result<String, Failure> {
    let named = charter.catalogs().category_named(name);
    named.map_err(|e| Failure::new(Exit::Usage, format!("--category: {e}")))
}

pub(super) async fn run(command: CatalogCommand) -> Result<Exit, Failure> {
    match command {
        CatalogCommand::Show { category: None, json, place } => {
            let catalog = place.catalog().await?;
            if json {
                let categories: Vec<_> = catalog.categories().map(|c| described(c)).collect();
                outln!(
                    "{}",
                    json!({ "version": &*catalog.version, "effective": catalog.effective.to_string(),
                    "until": catalog.until.map(|d| d.to_string()), "categories": categories, "rules": rules(&catalog) })
                );
            } else {
                list(&catalog);
            }
        }
        CatalogCommand::Show { category: Some(id), json, place } => {
            let catalog = place.catalog().await?;
            let category = category(&catalog, &id)?;
            if json {
                outln!("{}", described(category));
            } else {
                show(category);
            }
        }
        CatalogCommand::Check { file } => check(&file)?,
        CatalogCommand::Template { category: id, output, place } => {
            let catalog = place.catalog().await?;
            let output = output.unwrap_or_else(|| format!("{id}.xlsx").into());
            template(&catalog, category(&catalog, &id)?, &output)?;
            errln!("{}: written", output.display());
        }
    }
    Ok(Exit::Done)
}

fn list(catalog: &Catalog) {
    let until = catalog.until.map_or(String::new(), |d| format!(" until {d}"));
    outln!("catalog {}, in force from {}{until}", catalog.version, catalog.effective);
    for c in catalog.categories() {
        let closed = c.closed_from.map_or(String::new(), |d| format!("  closed from {d}"));
        let (own, days) = (c.form().count(), format!("{}/{} working days", c.collect_days, c.publish_days));
        outln!("  {}  {}  {own} fields  {days}{closed}", pad(&c.id, 26), pad(&c.zh, 26));
    }
    for r in catalog.rules() {
        outln!("  {}  {}  {}", r.id, pad(r.severity.map_or("off", Severity::name), 9), r.zh);
    }
}

fn kind(f: &Field) -> &'static str {
    match f.kind {
        FieldType::Text if f.list.is_some() => "code",
        FieldType::Text => "text",
        FieldType::Date => "date",
        FieldType::Decimal => "decimal",
        FieldType::Integer => "integer",
        FieldType::Uscc => "uscc",
        FieldType::OrgCode => "org_code",
        FieldType::RegNo => "reg_no",
        FieldType::IdNo => "id_no",
        FieldType::Division => "division",
    }
}

fn required(f: &Field) -> &'static str {
    match (f.required || f.same_as.is_some(), f.required_if.is_empty()) {
        (true, _) => "yes",
        (false, false) => "if",
        (false, true) => "no",
    }
}

fn show(c: &Category) {
    outln!("{}  {}  {}", c.id, c.zh, c.en);
    outln!("  source: {}", c.source);
    c.basis.iter().for_each(|b| outln!("  legal basis: {b}"));
    let key: Vec<_> = c.key.iter().map(|p| p.join("/")).collect();
    outln!("  business key: {}; produced on: {}", key.join(" | "), c.produced_on.join(", "));
    for f in c.form() {
        let list = f.list.as_ref().map_or(String::new(), |l| l.shown());
        let (id, zh, needed) = (pad(&f.id, 22), pad(&f.zh, 30), pad(required(f), 3));
        let (kind, personal) = (pad(kind(f), 9), if f.personal { "  personal" } else { "" });
        outln!("  {id}  {zh}  {kind}  {needed}  max {}{personal}  {}  {list}", f.max, f.codes.join(" "));
    }
}

fn described(c: &Category) -> serde_json::Value {
    let field = |f: &Field| {
        let list: Vec<_> =
            f.list.iter().flat_map(|l| l.values()).map(|(v, l)| json!({ "value": v, "label": l })).collect();
        json!({ "id": &*f.id, "zh": &*f.zh, "en": f.en, "type": kind(f), "max": f.max, "required": required(f),
            "codes": f.codes, "list": list, "personal": f.personal, "envelope": f.envelope })
    };
    json!({ "id": &*c.id, "zh": c.zh, "en": c.en, "source": c.source, "basis": c.basis,
        "key": c.key.iter().map(|p| p.join("/")).collect::<Vec<_>>(), "produced_on": c.produced_on.to_vec(),
        "subject": c.subject, "counts": c.counts, "collect_days": c.collect_days, "publish_days": c.publish_days,
        "closed_from": c.closed_from.map(|d| d.to_string()), "fields": c.fields().iter().map(field).collect::<Vec<_>>() })
}

fn rules(catalog: &Catalog) -> Vec<serde_json::Value> {
    let rule = |r: &tally_topology::catalog::Rule| json!({ "id": &*r.id, "severity": r.severity.map_or("off", Severity::name), "zh": r.zh, "en": r.en });
    catalog.rules().map(rule).collect()
}

fn check(file: &std::path::Path) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Alone {
        catalog: Vec<tally_topology::catalog::CatalogDocument>,
    }
    let text = std::fs::read_to_string(file).map_err(|e| Failure::failed(format!("{}: {e}", file.display())))?;
    let named = |e: &dyn std::fmt::Display| Failure::failed(format!("{}: {e}", file.display()));
    // A charter says who it is for; a catalog alone does not.
    let catalogs = if text.lines().any(|l| l.starts_with("federation")) {
        content(file)?.catalogs().clone()
    } else {
        let alone: Alone = toml::from_str(&text).map_err(|e| named(&TomlFault::new(&text, &e)))?;
        Catalogs::compile(alone.catalog).map_err(|e| named(&e))?
    };
    for c in catalogs.versions() {
        let shipped = if catalogs.shipped { " (comes with the program)" } else { "" };
        outln!("{}: catalog {}{shipped}, {} categories: in order", file.display(), c.version, c.categories().count());
    }
    Ok(())
}

/// The columns of a table: the category's own fields, and of the envelope what does not follow from them.
fn columns(c: &Category) -> Vec<&Field> {
    let said = |id: &str| c.form().any(|f| f.same_as.as_deref() == Some(id));
    let mut envelope: Vec<&str> = Vec::new();
    if c.subject {
        envelope.extend(["subject_name", "subject_uscc", "subject_reg_no"].iter().filter(|id| !said(id)));
    }
    if c.produced_on.is_empty() {
        envelope.push("produced_on");
    }
    envelope.extend(["producer_name", "producer_uscc"].iter().filter(|id| !said(id)));
    let of = |ids: Vec<&str>| ids.into_iter().filter_map(|id| c.field(id)).filter(|f| f.envelope).collect::<Vec<_>>();
    of(envelope).into_iter().chain(c.form()).chain(of(vec!["operation", "remark"])).collect()
}

fn template(catalog: &Catalog, c: &Category, output: &std::path::Path) -> Result<(), Failure> {
    let fields = columns(c);
    let choice = |f: &Field| -> Vec<String> {
        let shown = |(v, l): (&str, Option<&str>)| l.map_or_else(|| v.to_owned(), str::to_owned);
        if f.several { Vec::new() } else { f.list.iter().flat_map(|l| l.values()).map(shown).collect() }
    };
    let columns: Vec<Column> =
        fields.iter().map(|f| Column { head: f.zh.to_string(), choices: choice(f), ..Column::default() }).collect();
    let mut notes = vec![
        format!("{NOTE}{}（目录版本 {}）", c.zh, catalog.version),
        "请勿改动表头；所有单元格为文本格式；日期写作 2026-11-25；金额以万元为单位。".to_owned(),
    ];
    notes.extend(fields.iter().map(|f| note(c, f)));
    match output.extension().and_then(|e| e.to_str()) {
        Some("csv") => {
            let mut out = b"\xef\xbb\xbf".to_vec();
            // Rows that begin so are no data, also if nobody takes them out again.
            let notes = notes.iter().map(|n| if n.starts_with(NOTE) { n.clone() } else { format!("{NOTE}{n}") });
            write_csv_row(&mut out, columns.iter().map(|c| c.head.as_str())).map_err(Failure::failed)?;
            for note in notes {
                write_csv_row(&mut out, [note.as_str()]).map_err(Failure::failed)?;
            }
            write(output, &out)
        }
        Some("xlsx") => {
            let mut out = Cursor::new(Vec::new());
            write_xlsx(&mut out, (&c.zh, &columns), [], &notes).map_err(Failure::failed)?;
            write(output, out.get_ref())
        }
        _ => Err(Failure::new(Exit::Usage, "--output: the name must end with .xlsx or .csv")),
    }
}

/// How the notes of a template begin; one of the catalog's note words.
const NOTE: &str = "填表说明：";

fn note(c: &Category, f: &Field) -> String {
    let title = |id: &str| c.field(id).map_or_else(|| id.to_owned(), |f| f.zh.to_string());
    let conditions: Vec<String> = f
        .required_if
        .iter()
        .map(|condition| match condition {
            Condition::Is(id, value) => format!("{}为“{value}”", title(id)),
            Condition::IsNot(id, value) => format!("{}不为“{value}”", title(id)),
            Condition::Holds(id, value) => format!("{}含“{value}”", title(id)),
        })
        .collect();
    // Of name and numbers of the subject: the name, and one of the numbers.
    let says = f.same_as.as_deref().unwrap_or(&f.id);
    let filled = (f.default.is_some() || f.default_from.is_some()) && f.waived_by.is_none();
    let needed = if says == "subject_uscc" || says == "subject_reg_no" {
        "信用代码、注册号至少填一项".to_owned()
    } else if !conditions.is_empty() {
        format!("{}时必填", conditions.join("或"))
    } else if filled || says == "operation" {
        "可空，空时按目录补填".to_owned()
    } else if required(f) == "yes" {
        "必填".to_owned()
    } else {
        "选填".to_owned()
    };
    let list = f.list.as_ref().map_or(String::new(), |l| format!("；取值：{}", l.shown()));
    let several = if f.several { "；可填多个，以分号分隔" } else { "" };
    format!("{}（{}）：{needed}，最长 {} 字{several}{list}", f.zh, f.id, f.max)
}
