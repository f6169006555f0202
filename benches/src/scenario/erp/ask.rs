//! Questions in SQL, asked by one client or by many at once, and how long each answer took until
//! its last row was here. Clients are tasks of one thread, as those of `pgbench` are.

use std::{net::SocketAddr, time::Instant};

use benches::{
    end::AnyError,
    figures::{Figures, quantile},
};
use tokio::task::JoinSet;

use super::client::Client;

/// A question. Where it has a parameter, each time another value is asked for.
#[derive(Clone, Copy)]
pub struct Question {
    /// What its figures are called.
    pub name: &'static str,
    pub sql: &'static str,
    pub subject: Subject,
    /// How often one client asks: long enough for threads to have found their places.
    pub times: usize,
}

/// What a question is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An invoice, by number: `$1`.
    Number,
    /// An invoice, by id: `$1`.
    Id,
    /// A month: `{first}` up to `{next}`.
    Month,
    /// Everything; `{client}` is another number for each client.
    All,
}

pub const QUESTIONS: [Question; 7] = [
    Question {
        name: "by_number",
        sql: "SELECT * FROM invoices WHERE number = $1",
        subject: Subject::Number,
        times: 20_000,
    },
    Question {
        name: "by_id",
        sql: "SELECT * FROM invoices WHERE id = $1",
        subject: Subject::Id,
        times: 20_000,
    },
    Question {
        name: "month_totals",
        sql: "SELECT count(*), sum(taxable), sum(tax), sum(total) FROM invoices WHERE date >= '{first}' AND date < '{next}'",
        subject: Subject::Month,
        times: 900,
    },
    Question {
        name: "month_page",
        sql: "SELECT id, number, date, supplier_name, taxable, tax, total, state FROM invoices WHERE date >= '{first}' AND date < '{next}' ORDER BY date, id LIMIT 100",
        subject: Subject::Month,
        times: 1800,
    },
    Question {
        name: "month_whole",
        sql: "SELECT id, number, date, supplier_name, taxable, tax, total, state FROM invoices WHERE date >= '{first}' AND date < '{next}' ORDER BY date, id",
        subject: Subject::Month,
        times: 180,
    },
    Question {
        name: "vat_by_month",
        sql: "SELECT date_trunc('month', i.date)::date AS month, v.vat_rate, sum(v.taxable), sum(v.tax), count(*) FROM vat_summary v JOIN invoices i ON i.id = v.invoice_id GROUP BY 1, 2 ORDER BY 1, 2",
        subject: Subject::All,
        times: 20,
    },
    Question {
        name: "vat_by_month_each",
        sql: "SELECT date_trunc('month', i.date)::date AS month, v.vat_rate, sum(v.taxable), sum(v.tax), count(*) FROM vat_summary v JOIN invoices i ON i.id = v.invoice_id GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {client}",
        subject: Subject::All,
        times: 20,
    },
];

/// Whom to ask, and about whom.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub subjects: Vec<[String; 2]>,
}

/// Prepares the question as client `number` asks it, once for each month if it is about one, and
/// says under which names.
pub async fn prepare(
    client: &mut Client,
    question: Question,
    number: usize,
) -> Result<Vec<String>, AnyError> {
    let mut names = Vec::new();
    for month in 1..=9 {
        let sql = question.sql.replace("{first}", &format!("2025-{month:02}-01"));
        let sql = sql.replace("{next}", &format!("2025-{:02}-01", month + 1));
        let sql = sql.replace("{client}", &(10_000 + number).to_string());
        let name = format!("{}_{number}_{month}", question.name);
        client.prepare(&name, &sql).await?;
        names.push(name);
        if question.subject != Subject::Month {
            break;
        }
    }
    Ok(names)
}

impl Door {
    /// A door, and the numbers and ids of invoices to ask about.
    pub async fn open(address: SocketAddr) -> Result<Self, AnyError> {
        let mut client = Client::connect(address).await?;
        // Ids are hashes: their order has nothing to do with that of the rows.
        let rows = client.texts("SELECT number, id FROM invoices ORDER BY id LIMIT 5000").await?;
        let subjects = rows.into_iter().filter_map(|row| row.try_into().ok()).collect();
        Ok(Self { address, subjects })
    }

    /// Asks `question` by `clients` at once and adds p50 and p99 of all answers to `figures`.
    pub async fn ask(
        &self,
        question: Question,
        clients: usize,
        figures: Figures,
    ) -> Result<Figures, AnyError> {
        let mut asking = JoinSet::new();
        let times = if clients > 1 { (question.times / 5).max(3) } else { question.times };
        // Nobody asks before all are let in: a password costs more than many answers.
        let mut ready = Vec::new();
        for n in 0..clients {
            let mut client = Client::connect(self.address).await?;
            ready.push((n * 311, prepare(&mut client, question, n * 311).await?, client));
        }
        for (from, names, mut client) in ready {
            let door = self.clone();
            asking.spawn(
                async move { door.client(&mut client, question, &names, (from, times)).await },
            );
        }
        let mut samples = Vec::new();
        while let Some(one) = asking.join_next().await {
            samples.extend(one??);
        }
        let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut samples, share));
        let name = question.name;
        Ok(figures.with(format!("{name}_p50_ms"), p50).with(format!("{name}_p99_ms"), p99))
    }

    /// How long each answer took, in milliseconds: so many from that subject on.
    pub async fn client(
        &self,
        client: &mut Client,
        question: Question,
        names: &[String],
        (from, times): (usize, usize),
    ) -> Result<Vec<f64>, AnyError> {
        let mut samples = Vec::with_capacity(times);
        for n in from..from + times {
            let [number, id] = &self.subjects[n * 7 % self.subjects.len()];
            let name = &names[n % names.len()];
            let subject = match question.subject {
                Subject::Number => Some(number.as_str()),
                Subject::Id => Some(id.as_str()),
                Subject::Month | Subject::All => None,
            };
            let asked = Instant::now();
            let rows = client.ask(name, subject).await?;
            samples.push(asked.elapsed().as_secs_f64() * 1e3);
            if rows == 0 {
                return Err(format!("{} found nothing", question.name).into());
            }
        }
        Ok(samples)
    }
}
