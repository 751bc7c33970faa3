/// Unit of a value, by Grafana's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A number that is a name, such as an id.
    Id,
    /// A share from 0 to 1, shown in percent.
    Share,
    /// Percent, from 0 to 100.
    Percent,
    Seconds,
    Hours,
    Bytes,
    /// A moment, in milliseconds since the Unix epoch, shown as the time since.
    Ago,
    /// 1 or 0.
    YesNo,
    /// Things per second.
    PerSecond,
    /// Things per day.
    PerDay,
}

impl Unit {
    /// Grafana's id of the unit.
    pub fn id(self) -> &'static str {
        match self {
            Unit::Count => "locale",
            Unit::Id => "none",
            Unit::Share => "percentunit",
            Unit::Percent => "percent",
            Unit::Seconds => "s",
            Unit::Hours => "h",
            Unit::Bytes => "bytes",
            Unit::Ago => "dateTimeFromNow",
            Unit::YesNo => "bool_yes_no",
            Unit::PerSecond => "suffix:/s",
            Unit::PerDay => "suffix:per day",
        }
    }

    /// Decimals that say enough.
    pub fn decimals(self) -> u8 {
        match self {
            Unit::Count | Unit::Id | Unit::Ago | Unit::YesNo => 0,
            Unit::Share | Unit::Percent | Unit::Seconds | Unit::Hours | Unit::Bytes => 1,
            Unit::PerSecond | Unit::PerDay => 2,
        }
    }
}
