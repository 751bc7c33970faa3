//! The shapes of stored types, compared with those that are checked in.
//!
//! Postcard writes fields and variants by their order, without names: whatever changes it changes
//! what files in use mean. So every shape that a version ever had is a file in `shapes`, and the
//! stored types must have the shape of their version.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_reflection::{
    ContainerFormat, Format, Named, Registry, Tracer, TracerConfig, VariantFormat,
};

use super::super::upgrade::{STEPS, version};
use super::{Meta, PARTS, Row, row};

/// Finds all variants of an enum.
pub(super) fn variants<T: DeserializeOwned>(tracer: &mut Tracer) {
    tracer.trace_simple_type::<T>().expect("an enum");
}

/// The shape of a type, which has these enums in it, as text: a line per field and variant.
pub(super) fn of<T: DeserializeOwned>(enums: &[fn(&mut Tracer)]) -> String {
    let mut tracer = Tracer::new(TracerConfig::default().is_human_readable(false));
    for variants in enums {
        variants(&mut tracer);
    }
    let (format, _) = tracer.trace_simple_type::<T>().expect("a stored type");
    let registry = tracer.registry().expect("all enums are named");
    text(&format, &registry)
}

fn text(format: &Format, registry: &Registry) -> String {
    let mut text = format!("{}\n", of_format(format));
    for (name, container) in registry {
        let lines = of_container(container);
        // Writing to a text cannot fail.
        let _ = writeln!(text, "\n{name}:\n{lines}");
    }
    text
}

fn of_container(container: &ContainerFormat) -> String {
    let of_fields = |fields: &[Named<Format>]| {
        let fields = fields.iter();
        let lines = fields.map(|field| format!("  {}: {}", field.name, of_format(&field.value)));
        lines.collect::<Vec<_>>().join("\n")
    };
    match container {
        ContainerFormat::UnitStruct => "  nothing".to_owned(),
        ContainerFormat::NewTypeStruct(inner) => format!("  {}", of_format(inner)),
        ContainerFormat::TupleStruct(inner) => format!("  {}", tuple(inner)),
        ContainerFormat::Struct(fields) => of_fields(fields),
        ContainerFormat::Enum(variants) => {
            let lines = variants.iter().map(|(number, variant)| {
                let inner = match &variant.value {
                    VariantFormat::Unit => String::new(),
                    VariantFormat::NewType(inner) => format!(" {}", of_format(inner)),
                    VariantFormat::Tuple(inner) => format!(" {}", tuple(inner)),
                    VariantFormat::Struct(fields) => {
                        let fields = of_fields(fields).replace("\n  ", ", ");
                        format!(" {{ {} }}", fields.trim_start())
                    }
                    VariantFormat::Variable(_) => " unknown".to_owned(),
                };
                format!("  {number} = {}{inner}", variant.name)
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

fn tuple(formats: &[Format]) -> String {
    let inner: Vec<String> = formats.iter().map(of_format).collect();
    format!("({})", inner.join(", "))
}

fn of_format(format: &Format) -> String {
    match format {
        Format::TypeName(name) => name.clone(),
        Format::Option(inner) => format!("option of {}", of_format(inner)),
        Format::Seq(inner) => format!("list of {}", of_format(inner)),
        Format::Map { key, value } => format!("map of {} to {}", of_format(key), of_format(value)),
        Format::Tuple(inner) => tuple(inner),
        Format::TupleArray { content, size } => format!("{size} of {}", of_format(content)),
        simple => format!("{simple:?}").to_lowercase(),
    }
}

/// What is stored: its name, its version, and the shape it has.
fn all() -> Vec<(&'static str, u16, String)> {
    let parts = PARTS.iter().map(|part| {
        let version = version(STEPS.of_part(part.name).len());
        (part.name, version, (part.shape)())
    });
    let mut all: Vec<_> = parts.collect();
    let row = of::<Row>(&[variants::<row::Value>]);
    all.push(("row", version(STEPS.rows.len()), row));
    all.push(("meta", version(0), of::<Meta>(&[])));
    all
}

fn file(name: &str, version: u16) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/stored/shapes");
    folder.join(format!("{name}.v{version}.txt"))
}

/// Lines that only one of two texts has.
fn difference(before: &str, after: &str) -> String {
    let only = |sign, text: &str, other: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| !other.lines().any(|one| one == *line));
        lines.map(|line| format!("    {sign}{line}")).collect()
    };
    let mut lines = only('-', before, after);
    lines.extend(only('+', after, before));
    if lines.is_empty() {
        lines.push("    the same lines in another order".to_owned());
    }
    lines.join("\n")
}

#[test]
fn stored_types_have_the_shape_of_their_version() {
    let update = std::env::var_os("UPDATE_STATE").is_some();
    let mut wrong = Vec::new();
    for (name, version, shape) in all() {
        let path = file(name, version);
        match fs::read_to_string(&path) {
            Ok(known) if known == shape => {}
            Ok(known) => wrong.push(format!(
                "what is stored as {name:?} has changed, and files in use hold version {version}:\n{}\n  \
                 Keep the type of version {version} next to the new one, append the step from the one to \
                 the other to STEPS in src/store/upgrade.rs, which makes it version {}, and record its \
                 shape with UPDATE_STATE=1 cargo test --lib store::",
                difference(&known, &shape),
                version + 1
            )),
            Err(_) if update => fs::write(&path, shape).unwrap(),
            Err(_) => wrong.push(format!(
                "{} is missing: if {name:?} is new in version {version}, record its shape with \
                 UPDATE_STATE=1 cargo test --lib store::",
                path.display()
            )),
        }
        // What is recorded of older versions stays: their files are in use.
        for older in 1..version {
            assert!(
                file(name, older).exists(),
                "{name} has no shape of version {older}"
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
