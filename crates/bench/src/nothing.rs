//! The limit of the intake: a route that reads the same form and does nothing.

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

use crate::requests::CREATE;

/// What the form of a stamp has.
#[derive(Debug, Deserialize, Serialize)]
struct StampForm {
    object_cid: String,
    time_tolerance: i32,
}

/// Serves the route with as many workers as the API has, until the process is killed.
///
/// # Errors
/// If no address can be bound.
pub async fn serve() -> anyhow::Result<()> {
    let server = HttpServer::new(|| App::new().route(CREATE, web::post().to(answer)))
        .tcp_nodelay(true)
        .disable_signals()
        .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        println!("nothing on http://{address}");
    }
    Ok(server.run().await?)
}

async fn answer(form: web::Form<StampForm>) -> HttpResponse {
    HttpResponse::Created().json(&*form)
}
