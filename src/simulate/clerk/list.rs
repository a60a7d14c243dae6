//! `GET /v1/users` and `GET /v1/users/count`: filters, orders, cursor and offset, as the specification has them.

use super::refusal::Refusal;
use super::render::render;
use crate::simulate::faults::{Faults, ListFault, LostCursor};
use crate::simulate::people::Details;
use crate::simulate::query::Query;
use crate::simulate::world::{Person, World};
use axum::http::StatusCode;
use std::str::FromStr;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 500;
const ORDERS: [&str; 10] = [
    "created_at",
    "updated_at",
    "email_address",
    "web3wallet",
    "first_name",
    "last_name",
    "phone_number",
    "username",
    "last_active_at",
    "last_sign_in_at",
];
const FILTER_VALUES_MAX: usize = 100;

/// What a list asks for.
struct ListRequest {
    limit: usize,
    offset: usize,
    after: Option<String>,
    order: String,
    descending: bool,
}

impl ListRequest {
    fn read(query: &Query) -> Result<Self, Refusal> {
        // More than the maximum is not an error: it is silently the default.
        let limit = number::<i64>(query, "limit")?.unwrap_or(LIMIT_DEFAULT as i64);
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        let offset = number::<i64>(query, "offset")?.unwrap_or(0);
        let offset = usize::try_from(offset)
            .map_err(|_| Refusal::unprocessable("form_param_value_invalid", "offset must not be negative"))?;
        let order_by = query.first("order_by").unwrap_or("-created_at");
        let descending = order_by.starts_with('-');
        let order = order_by.trim_start_matches(['+', '-', ' ']).to_owned();
        if !ORDERS.contains(&order.as_str()) {
            return Err(Refusal::unprocessable(
                "form_param_value_invalid",
                "order_by is none of the allowed",
            ));
        }
        let after = query.first("starting_after").map(str::to_owned);
        if after.is_some() && (order != "created_at" || offset > 0) {
            return Err(Refusal::unprocessable(
                "form_param_value_invalid",
                "starting_after needs the order of created_at, and no offset",
            ));
        }
        Ok(Self { limit: limit.unwrap_or(LIMIT_DEFAULT), offset, after, order, descending })
    }
}

fn number<T: FromStr>(query: &Query, name: &'static str) -> Result<Option<T>, Refusal> {
    let wrong = || Refusal::unprocessable("form_param_format_invalid", format!("{name} must be a number"));
    query.first(name).map(|text| text.parse().map_err(|_| wrong())).transpose()
}

/// The page as JSON text.
pub(super) fn list(world: &World, query: &Query, faults: &Faults) -> Result<String, Refusal> {
    let wanted = ListRequest::read(query)?;
    let filter = Filter::read(query)?;
    let after = match (faults.list, &wanted.after) {
        (ListFault::Empty, _) => return Ok("[]".into()),
        (ListFault::NoCursor, Some(_)) => {
            return Err(Refusal::unprocessable("form_param_unknown", "starting_after is not known"));
        }
        (ListFault::Repeat, _) | (_, None) => None,
        (_, Some(id)) => match (world.alive(id), faults.lost_cursor) {
            (Some(person), _) => Some((person.created_ms, person.number)),
            (None, LostCursor::Empty) => return Ok("[]".into()),
            (None, LostCursor::NotFound) => {
                return Err(Refusal::new(StatusCode::NOT_FOUND, "cursor_not_found", "no such cursor"));
            }
            (None, LostCursor::Unprocessable) => {
                return Err(Refusal::unprocessable("form_param_value_invalid", "no such cursor"));
            }
            (None, LostCursor::Restart) => None,
        },
    };
    let limit = if faults.list == ListFault::Short { wanted.limit.min(LIMIT_DEFAULT) } else { wanted.limit };
    let half = faults.list == ListFault::Half;
    let page = ordered(world, &wanted, after)
        .filter(|person| !half || person.number % 2 == 0)
        .filter(|person| filter.is_empty || filter.holds(world, person))
        .skip(wanted.offset)
        .take(limit);
    let mut out = String::with_capacity(1_800 * limit.min(world.count() + 1));
    out.push('[');
    for (n, person) in page.enumerate() {
        if n > 0 {
            out.push(',');
        }
        match faults.odd_every {
            every if every > 0 && person.number % every == every - 1 => out.push_str(&odd(world, person)),
            _ => render(world, &mut out, person),
        }
    }
    out.push(']');
    Ok(out)
}

pub(super) fn count(world: &World, query: &Query, faults: &Faults) -> Result<String, Refusal> {
    let filter = Filter::read(query)?;
    let count = match filter.is_empty {
        true => world.count(),
        false => world.listed(None, false).filter(|person| filter.holds(world, person)).count(),
    };
    let count = (count as i64 + faults.count_off_by).max(0);
    Ok(format!(r#"{{"object":"total_count","total_count":{count}}}"#))
}

/// A user that nobody can read: half of a surrogate pair in the name, no version.
fn odd(world: &World, person: &Person) -> String {
    format!(
        r#"{{"id":"{}","object":"user","first_name":"\ud83d","created_at":{}}}"#,
        world.id(person.number),
        person.created_ms
    )
}

fn ordered<'a>(
    world: &'a World,
    wanted: &ListRequest,
    after: Option<(i64, u64)>,
) -> Box<dyn Iterator<Item = &'a Person> + 'a> {
    let key: fn(&Details) -> Option<String> = match wanted.order.as_str() {
        "created_at" => return world.listed(after, wanted.descending),
        "updated_at" | "last_active_at" | "last_sign_in_at" => return world.by_update(wanted.descending),
        "first_name" => |details| details.first_name.clone(),
        "last_name" => |details| details.last_name.clone(),
        "username" => |details| details.username.clone(),
        "email_address" => |details| details.emails.first().cloned(),
        "phone_number" => |details| details.phones.first().cloned(),
        _ => |_| None,
    };
    let mut people: Vec<&Person> = world.listed(None, false).collect();
    people.sort_by_cached_key(|person| key(&world.details(person)));
    if wanted.descending {
        people.reverse();
    }
    Box::new(people.into_iter())
}

/// Who is meant.
struct Filter {
    is_empty: bool,
    user_id: Vec<String>,
    external_id: Vec<String>,
    email_address: Vec<String>,
    phone_number: Vec<String>,
    username: Vec<String>,
    query: Option<String>,
    banned: Option<bool>,
    created_after: Option<i64>,
    created_before: Option<i64>,
    active_after: Option<i64>,
}

impl Filter {
    fn read(query: &Query) -> Result<Self, Refusal> {
        let many = |name: &str| -> Result<Vec<String>, Refusal> {
            let values: Vec<String> = query.all(name).into_iter().map(str::to_owned).collect();
            match values.len() > FILTER_VALUES_MAX {
                true => {
                    Err(Refusal::unprocessable("form_param_value_invalid", "up to 100 values are allowed"))
                }
                false => Ok(values),
            }
        };
        let mut filter = Self {
            is_empty: false,
            user_id: many("user_id")?,
            external_id: many("external_id")?,
            email_address: many("email_address")?,
            phone_number: many("phone_number")?,
            username: many("username")?,
            query: query.first("query").filter(|text| !text.is_empty()).map(str::to_lowercase),
            banned: query.first("banned").map(|text| text == "true"),
            created_after: number(query, "created_at_after")?,
            created_before: number(query, "created_at_before")?,
            active_after: number(query, "last_active_at_after")?,
        };
        let lists = [
            &filter.user_id,
            &filter.external_id,
            &filter.email_address,
            &filter.phone_number,
            &filter.username,
        ];
        filter.is_empty = lists.iter().all(|list| list.is_empty())
            && filter.query.is_none()
            && filter.banned.is_none()
            && filter.created_after.is_none()
            && filter.created_before.is_none()
            && filter.active_after.is_none();
        Ok(filter)
    }

    fn holds(&self, world: &World, person: &Person) -> bool {
        // Cheap ones first: the details of a person are made up anew each time.
        if self.created_after.is_some_and(|after| person.created_ms <= after)
            || self.created_before.is_some_and(|before| person.created_ms >= before)
            || self.active_after.is_some_and(|after| person.updated_ms <= after)
            || self.banned.is_some_and(|banned| person.banned != banned)
        {
            return false;
        }
        let id = world.id(person.number);
        if !signed(&self.user_id, Some(&id)) {
            return false;
        }
        let details = world.details(person);
        let any = |wanted: &[String], had: &[String]| {
            wanted.is_empty() || had.iter().any(|value| wanted.contains(value))
        };
        let names = [&details.first_name, &details.last_name, &details.username];
        signed(&self.external_id, details.external_id.as_ref())
            && any(&self.email_address, &details.emails)
            && any(&self.phone_number, &details.phones)
            && any(&self.username, details.username.as_slice())
            && self.query.as_ref().is_none_or(|query| {
                let texts = details.emails.iter().chain(&details.phones).chain(names.into_iter().flatten());
                texts.chain([&id]).any(|text| text.to_lowercase().contains(query))
            })
    }
}

/// Values with `-` before them exclude.
fn signed(wanted: &[String], had: Option<&String>) -> bool {
    let excluded = wanted.iter().filter_map(|value| value.strip_prefix('-'));
    if excluded.into_iter().any(|value| had.is_some_and(|had| had == value)) {
        return false;
    }
    let mut included = wanted.iter().filter(|value| !value.starts_with('-')).peekable();
    included.peek().is_none()
        || included.any(|value| had.is_some_and(|had| had == value.trim_start_matches('+')))
}
