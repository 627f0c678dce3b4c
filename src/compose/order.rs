//! The order in which services start.

use super::cursor::Cursor;
use super::service::Service;

/// Each service after all that it depends on, else in the order of the file. A circle is noted with its members.
pub(super) fn sort(services: Vec<(Service, Cursor<'_>)>) -> Vec<Service> {
    let mut sorted: Vec<Service> = Vec::new();
    let mut waiting = services;
    loop {
        let names: Vec<String> = waiting.iter().map(|(service, _)| service.name.clone()).collect();
        // What is not a service at all is another problem.
        let ready = waiting.iter().position(|(service, _)| service.depends_on.keys().all(|name| !names.contains(name)));
        match ready {
            Some(index) => sorted.push(waiting.remove(index).0),
            None => break,
        }
    }
    if let Some((circle, cursor)) = circle(&waiting) {
        cursor.wrong(format!("depends_on: the services wait for each other in a circle: {}", circle.join(" -> ")));
    }
    sorted.extend(waiting.into_iter().map(|(service, _)| service));
    sorted
}

/// Among services each of which depends on another one of them, following the first dependency must come back.
fn circle<'services, 'file>(
    waiting: &'services [(Service, Cursor<'file>)],
) -> Option<(Vec<String>, &'services Cursor<'file>)> {
    let mut current: &Service = &waiting.first()?.0;
    let mut path: Vec<&str> = Vec::new();
    while !path.contains(&current.name.as_str()) {
        path.push(&current.name);
        let next = current.depends_on.keys().find(|name| waiting.iter().any(|(other, _)| other.name == **name))?;
        current = waiting.iter().map(|(service, _)| service).find(|service| service.name == *next)?;
    }
    let begin = path.iter().position(|name| *name == current.name)?;
    let mut circle: Vec<String> = path[begin..].iter().map(|name| (*name).to_owned()).collect();
    circle.push(current.name.clone());
    let cursor = waiting.iter().find(|(service, _)| service.name == current.name).map(|(_, cursor)| cursor)?;
    Some((circle, cursor))
}
