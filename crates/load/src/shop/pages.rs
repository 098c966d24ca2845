//! What the shop exposes for a scrape: the metrics of an older part of it, that knows no OTLP.

use crate::identity::{RunId, WorkerId};
use crate::targets::{Exposition, Family, Kind};

pub(super) fn exposition(run: RunId, worker: WorkerId) -> Exposition {
    let states = ["active", "abandoned", "converted"];
    let warehouses = ["berlin", "lisbon", "oslo", "turin"];
    let families = vec![
        family(
            "shop_page_views_total",
            Kind::Counter,
            "Pages that were shown.",
            "page",
            &["home", "search", "product", "cart", "account"],
        ),
        family("shop_cart_changes_total", Kind::Counter, "Changes of carts.", "change", &["add", "remove", "clear"]),
        family("shop_carts", Kind::Gauge, "Carts by state.", "state", &states),
        family("shop_stock_items", Kind::Gauge, "Items in stock.", "warehouse", &warehouses),
        family(
            "shop_search_duration_seconds",
            Kind::Histogram,
            "How long searches took.",
            "index",
            &["products", "reviews"],
        ),
    ];
    Exposition { run, worker, families, lifetime_pages: None }
}

fn family(name: &str, kind: Kind, help: &'static str, label: &'static str, values: &[&str]) -> Family {
    let series = values.iter().map(|value| vec![(label, (*value).to_owned())]);
    Family { name: name.to_owned(), kind, help, series: series.collect() }
}
