//! Whole expressions: selectors, groupings, and how vectors are matched.

use std::collections::BTreeSet;

use promql_parser::label::Labels;
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector,
    ParenExpr, SubqueryExpr, UnaryExpr, VectorMatchCardinality, VectorSelector,
};

use super::Names;
use super::families::{Family, New};
use super::labels::{LabelNow, translate};
use super::selector::{self, NewSelector};
use crate::catalogue::FamilyId;

/// Rewrites one expression, and notes what is different.
pub(super) struct Rewriter<'a> {
    names: &'a Names,
    pub changes: Vec<String>,
    /// The old metrics so far.
    pub families: Vec<&'static Family>,
}

impl<'a> Rewriter<'a> {
    pub fn new(names: &'a Names) -> Self {
        Self {
            names,
            changes: Vec::new(),
            families: Vec::new(),
        }
    }

    /// The expression in new words.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn expression(&mut self, old: &Expr) -> Result<Expr, String> {
        Ok(match old {
            Expr::VectorSelector(selector) => self.instant(selector)?,
            Expr::MatrixSelector(selector) => self.range(selector)?,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate)?,
            Expr::Binary(binary) => self.binary(binary)?,
            Expr::Call(call) => self.call(call)?,
            Expr::Paren(paren) => Expr::Paren(ParenExpr {
                expr: self.boxed(&paren.expr)?,
            }),
            Expr::Unary(unary) => Expr::Unary(UnaryExpr {
                expr: self.boxed(&unary.expr)?,
            }),
            Expr::Subquery(subquery) => Expr::Subquery(SubqueryExpr {
                expr: self.boxed(&subquery.expr)?,
                ..subquery.clone()
            }),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => old.clone(),
        })
    }

    fn boxed(&mut self, old: &Expr) -> Result<Box<Expr>, String> {
        self.expression(old).map(Box::new)
    }

    fn change(&mut self, sentence: String) {
        if !self.changes.contains(&sentence) {
            self.changes.push(sentence);
        }
    }

    fn selector(&mut self, old: &VectorSelector) -> Result<Option<NewSelector>, String> {
        let found = selector::rewrite(old, self.names)?;
        if let Some(new) = &found {
            if !self.families.contains(&new.family) {
                self.families.push(new.family);
            }
            new.changes
                .iter()
                .for_each(|change| self.change(change.clone()));
        }
        Ok(found)
    }

    fn instant(&mut self, old: &VectorSelector) -> Result<Expr, String> {
        let Some(new) = self.selector(old)? else {
            return Ok(Expr::VectorSelector(old.clone()));
        };
        let function = match new.family.new {
            New::SumOf(_) => "sum",
            New::CountOf(_) => "count",
            New::Metric(_) | New::Nothing(_) => return Ok(Expr::VectorSelector(new.selector)),
        };
        parser::parse(&format!("{function}({})", new.selector))
    }

    fn range(&mut self, old: &MatrixSelector) -> Result<Expr, String> {
        let Some(new) = self.selector(&old.vs)? else {
            return Ok(Expr::MatrixSelector(old.clone()));
        };
        match new.family.new {
            New::CountOf(name) => {
                return Err(format!(
                    "{} is count({name}) here, which needs a subquery: count({name})[1h:]",
                    new.family.old
                ));
            }
            New::SumOf(name) => {
                self.change(format!(
                    "{name} has a series for each set of labels: sum() the result"
                ));
            }
            New::Metric(_) | New::Nothing(_) => {}
        }
        Ok(Expr::MatrixSelector(MatrixSelector {
            vs: new.selector,
            range: old.range,
        }))
    }

    /// Rewrites a part, and returns the old metrics in it.
    fn part(&mut self, old: &Expr) -> Result<(Expr, Vec<&'static Family>), String> {
        let before = std::mem::take(&mut self.families);
        let new = self.expression(old);
        let inside = std::mem::replace(&mut self.families, before);
        for family in &inside {
            if !self.families.contains(family) {
                self.families.push(family);
            }
        }
        Ok((new?, inside))
    }

    fn aggregate(&mut self, old: &AggregateExpr) -> Result<Expr, String> {
        let (expr, inside) = self.part(&old.expr)?;
        let param = match &old.param {
            Some(param) => Some(self.boxed(param)?),
            None => None,
        };
        let modifier = match &old.modifier {
            Some(LabelModifier::Include(labels)) => {
                Some(LabelModifier::Include(self.labels(labels, &inside, "by")?))
            }
            Some(LabelModifier::Exclude(labels)) => {
                let new = translate(labels, &inside)?;
                Some(LabelModifier::Exclude(Labels { labels: new.kept }))
            }
            None => None,
        };
        Ok(Expr::Aggregate(AggregateExpr {
            op: old.op,
            expr: Box::new(expr),
            param,
            modifier,
        }))
    }

    /// The labels of a grouping; says which have no counterpart.
    fn labels(
        &mut self,
        old: &Labels,
        inside: &[&'static Family],
        word: &str,
    ) -> Result<Labels, String> {
        let new = translate(old, inside)?;
        let gone: Vec<&String> = new
            .dropped
            .iter()
            .filter(|label| *label != "topics")
            .collect();
        for label in gone {
            self.change(format!(
                "{label} has no counterpart, and was removed from {word}()"
            ));
        }
        Ok(Labels { labels: new.kept })
    }

    fn call(&mut self, old: &Call) -> Result<Expr, String> {
        let mut new = old.clone();
        let mut inside = Vec::new();
        for arg in &mut new.args.args {
            let (expr, families) = self.part(arg)?;
            **arg = expr;
            inside.extend(families);
        }
        // Which arguments name labels that are read.
        let from = match old.func.name {
            "label_replace" => 3..4,
            "label_join" => 3..usize::MAX,
            "sort_by_label" | "sort_by_label_desc" => 1..usize::MAX,
            _ => return Ok(Expr::Call(new)),
        };
        for (place, arg) in new.args.args.iter_mut().enumerate() {
            if let Expr::StringLiteral(label) = &mut **arg
                && from.contains(&place)
            {
                let one = Labels {
                    labels: vec![label.val.clone()],
                };
                let translated = translate(&one, &inside)?;
                match translated.kept.as_slice() {
                    [name] => label.val.clone_from(name),
                    _ => {
                        return Err(format!(
                            "{}() reads the label {}, which has no counterpart",
                            old.func.name, label.val
                        ));
                    }
                }
            }
        }
        Ok(Expr::Call(new))
    }

    fn binary(&mut self, old: &BinaryExpr) -> Result<Expr, String> {
        let (lhs, left) = self.part(&old.lhs)?;
        let (rhs, right) = self.part(&old.rhs)?;
        let inside: Vec<&'static Family> = left.iter().chain(&right).copied().collect();
        let modifier = match &old.modifier {
            Some(modifier) if !inside.is_empty() => {
                Some(self.matching(modifier, (&left, &right), &inside)?)
            }
            other => other.clone(),
        };
        let mut new = BinaryExpr {
            op: old.op,
            lhs: Box::new(lhs),
            rhs: Box::new(rhs),
            modifier,
        };
        if !inside.is_empty() {
            self.align(&mut new);
        }
        Ok(Expr::Binary(new))
    }

    fn matching(
        &mut self,
        old: &BinModifier,
        (left, right): (&[&'static Family], &[&'static Family]),
        inside: &[&'static Family],
    ) -> Result<BinModifier, String> {
        let matching = match &old.matching {
            Some(LabelModifier::Include(labels)) => {
                let new = self.labels_on(labels, left, right)?;
                if new.labels.is_empty() && !labels.is_empty() {
                    return Err(format!(
                        "its sides are matched on {}, which have no counterpart on one of them",
                        labels.labels.join(", ")
                    ));
                }
                Some(LabelModifier::Include(new))
            }
            Some(LabelModifier::Exclude(labels)) => {
                let new = translate(labels, inside)?;
                Some(LabelModifier::Exclude(Labels { labels: new.kept }))
            }
            None => None,
        };
        let added = |labels: &Labels, side: &[&'static Family]| -> Result<Labels, String> {
            let new = translate(labels, side)?;
            match new.dropped.first() {
                Some(label) => Err(format!(
                    "it takes the label {label} from the other side (group_left), which has no counterpart"
                )),
                None => Ok(Labels { labels: new.kept }),
            }
        };
        let card = match &old.card {
            VectorMatchCardinality::ManyToOne(labels) => {
                VectorMatchCardinality::ManyToOne(added(labels, right)?)
            }
            VectorMatchCardinality::OneToMany(labels) => {
                VectorMatchCardinality::OneToMany(added(labels, left)?)
            }
            other => other.clone(),
        };
        Ok(BinModifier {
            card,
            matching,
            ..old.clone()
        })
    }

    /// Labels that both sides have.
    fn labels_on(
        &mut self,
        old: &Labels,
        left: &[&'static Family],
        right: &[&'static Family],
    ) -> Result<Labels, String> {
        let mut kept = Vec::new();
        for label in &old.labels {
            let one = Labels {
                labels: vec![label.clone()],
            };
            let (on_left, on_right) = (translate(&one, left)?, translate(&one, right)?);
            match (on_left.kept.first(), on_right.kept.first()) {
                (Some(one), Some(other)) if one == other => kept.push(one.clone()),
                (Some(one), Some(other)) => {
                    return Err(format!(
                        "the label {label} is {one} on one side and {other} on the other"
                    ));
                }
                _ if label == "topics" => {}
                _ => self.change(format!(
                    "{label} has no counterpart, and was removed from on()"
                )),
            }
        }
        Ok(Labels { labels: kept })
    }

    /// Metrics that had the same labels before may have different ones here: then both sides are matched
    /// on those that they share.
    fn align(&mut self, new: &mut BinaryExpr) {
        let (Some(left), Some(right)) = (label_names(&new.lhs), label_names(&new.rhs)) else {
            return;
        };
        let matching = new
            .modifier
            .as_ref()
            .and_then(|modifier| modifier.matching.as_ref());
        let ignored: BTreeSet<String> = match matching {
            Some(LabelModifier::Include(_)) => return,
            Some(LabelModifier::Exclude(labels)) => labels.labels.iter().cloned().collect(),
            None => BTreeSet::new(),
        };
        let (left, right) = (&left - &ignored, &right - &ignored);
        if left == right {
            return;
        }
        let shared: Vec<String> = left.intersection(&right).cloned().collect();
        if shared.is_empty() {
            return;
        }
        self.change(format!(
            "its sides have different labels here, so they are matched on those that both have ({})",
            shared.join(", ")
        ));
        let modifier = new.modifier.get_or_insert_with(|| BinModifier {
            card: match new.op.is_set_operator() {
                true => VectorMatchCardinality::ManyToMany,
                false => VectorMatchCardinality::OneToOne,
            },
            ..BinModifier::default()
        });
        modifier.matching = Some(LabelModifier::Include(Labels { labels: shared }));
    }
}

/// The labels of a result, by the catalogue; nothing where they are not known.
fn label_names(expr: &Expr) -> Option<BTreeSet<String>> {
    let of = |selector: &VectorSelector| {
        let id = FamilyId::by_name(selector.name.as_deref()?)?;
        Some(
            id.desc()
                .labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect(),
        )
    };
    match expr {
        Expr::VectorSelector(selector) => of(selector),
        Expr::MatrixSelector(selector) => of(&selector.vs),
        Expr::Paren(paren) => label_names(&paren.expr),
        Expr::Unary(unary) => label_names(&unary.expr),
        Expr::Subquery(subquery) => label_names(&subquery.expr),
        Expr::Aggregate(aggregate) => {
            let inside = label_names(&aggregate.expr)?;
            Some(match &aggregate.modifier {
                Some(LabelModifier::Include(labels)) => labels.labels.iter().cloned().collect(),
                Some(LabelModifier::Exclude(labels)) => {
                    let excluded: BTreeSet<String> = labels.labels.iter().cloned().collect();
                    &inside - &excluded
                }
                // These keep the series as they are.
                None if ["topk", "bottomk", "limitk", "limit_ratio"]
                    .contains(&&*aggregate.op.to_string()) =>
                {
                    inside
                }
                None => BTreeSet::new(),
            })
        }
        Expr::Call(call) => {
            let changes_labels = [
                "label_replace",
                "label_join",
                "absent",
                "absent_over_time",
                "histogram_quantile",
            ];
            if changes_labels.contains(&call.func.name) {
                return None;
            }
            call.args.args.iter().find_map(|arg| label_names(arg))
        }
        Expr::Binary(binary) => match (label_names(&binary.lhs), label_names(&binary.rhs)) {
            (Some(left), None) if is_scalar(&binary.rhs) => Some(left),
            (None, Some(right)) if is_scalar(&binary.lhs) => Some(right),
            (Some(left), Some(_)) if binary.modifier.as_ref().is_none_or(is_one_to_one) => {
                Some(left)
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_one_to_one(modifier: &BinModifier) -> bool {
    let is_many = matches!(
        modifier.card,
        VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::OneToMany(_)
    );
    // Arithmetic on some labels keeps these alone.
    !is_many && (modifier.matching.is_none() || modifier.card == VectorMatchCardinality::ManyToMany)
}

fn is_scalar(expr: &Expr) -> bool {
    match expr {
        Expr::NumberLiteral(_) => true,
        Expr::Paren(paren) => is_scalar(&paren.expr),
        Expr::Unary(unary) => is_scalar(&unary.expr),
        Expr::Call(call) => ["time", "scalar", "pi"].contains(&call.func.name),
        Expr::Binary(binary) => is_scalar(&binary.lhs) && is_scalar(&binary.rhs),
        _ => false,
    }
}

/// What a label in a text such as a legend is here.
pub(in crate::migrate) fn label_in(families: &[&'static Family], label: &str) -> LabelNow {
    let had = families
        .iter()
        .filter(|family| family.labels.contains(&label));
    had.map(|family| family.label(label))
        .next()
        .unwrap_or(LabelNow::Same)
}
