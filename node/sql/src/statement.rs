//! What a client's text asks for: a query, or one of the few commands around queries. Writing is
//! refused here, by its first word, with the door that is right for it.

use sqlparser::{
    ast::Query,
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use crate::error::{SqlError, code};

/// Longest statement read: a list of some thousand ids.
const STATEMENT_BYTES_MAX: usize = 64 * 1024;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Nothing between two semicolons.
    Empty,
    /// Rows.
    Query(Box<Query>),
    /// BEGIN.
    Begin,
    /// COMMIT, or END.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// Savepoints and the like: done by doing nothing. Its tag.
    Nothing(&'static str),
    /// SET.
    Set(String, String),
    /// SHOW.
    Show(String),
    /// DECLARE.
    Declare {
        /// Name of the cursor.
        name: String,
        /// WITH HOLD: it outlives the transaction.
        hold: bool,
        /// Its rows.
        query: Box<Query>,
    },
    /// FETCH or MOVE.
    Fetch {
        /// Name of the cursor.
        name: String,
        /// How many rows, none for all.
        count: Option<usize>,
        /// Go past them.
        skip: bool,
    },
    /// CLOSE; without a name, all.
    Close(Option<String>),
    /// DEALLOCATE; without a name, all.
    Deallocate(Option<String>),
    /// DISCARD ALL.
    Discard,
}

/// The error for what would write.
#[must_use]
pub fn read_only(what: &str) -> SqlError {
    let why = format!("cannot execute {what}: these tables are a read-only mirror");
    SqlError::new(code::READ_ONLY, why).hint(
        "To send an invoice put it into the out/ folder or POST it over HTTP; marks such as registered and paid are set over HTTP.",
    )
}

/// The statements in a text, in order.
///
/// # Errors
/// [`SqlError`] when one cannot be read.
pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    if text.len() > STATEMENT_BYTES_MAX {
        let why = format!("statements are at most {STATEMENT_BYTES_MAX} bytes long");
        return Err(SqlError::new(code::LIMIT, why));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize()
        .map_err(|error| SqlError::new(code::SYNTAX, format!("syntax error: {error}")))?;
    let mut statements = Vec::new();
    for part in tokens.split(|token| *token == Token::SemiColon) {
        let part: Vec<_> =
            part.iter().filter(|token| !matches!(token, Token::Whitespace(_))).cloned().collect();
        if !part.is_empty() {
            statements.push(one(part)?);
        }
    }
    Ok(statements)
}

fn word(token: Option<&Token>) -> String {
    match token {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_lowercase(),
        _ => String::new(),
    }
}

fn name(token: Option<&Token>) -> Result<String, SqlError> {
    match token {
        Some(Token::Word(word)) if word.quote_style.is_some() => Ok(word.value.clone()),
        Some(Token::Word(word)) => Ok(word.value.to_lowercase()),
        _ => Err(SqlError::new(code::SYNTAX, "syntax error: a name is missing")),
    }
}

fn one(tokens: Vec<Token>) -> Result<Statement, SqlError> {
    let first = word(tokens.first());
    let second = word(tokens.get(1));
    Ok(match first.as_str() {
        "select" | "with" | "values" | "table" => Statement::Query(query(tokens)?),
        "" if tokens.first() == Some(&Token::LParen) => Statement::Query(query(tokens)?),
        "begin" | "start" => Statement::Begin,
        "commit" | "end" => Statement::Commit,
        "rollback" | "abort" if tokens.iter().any(|token| word(Some(token)) == "to") => {
            Statement::Nothing("ROLLBACK")
        }
        "rollback" | "abort" => Statement::Rollback,
        "savepoint" => Statement::Nothing("SAVEPOINT"),
        "release" => Statement::Nothing("RELEASE"),
        "listen" => Statement::Nothing("LISTEN"),
        "unlisten" => Statement::Nothing("UNLISTEN"),
        "set" => set(&tokens[1..])?,
        "reset" => Statement::Set(second, String::new()),
        "show" => {
            let words: Vec<_> = tokens[1..].iter().map(|token| word(Some(token))).collect();
            Statement::Show(match words.join(" ").as_str() {
                "transaction isolation level" => "transaction_isolation".to_owned(),
                "time zone" => "timezone".to_owned(),
                other => other.to_owned(),
            })
        }
        "discard" => Statement::Discard,
        "declare" => declare(tokens)?,
        "fetch" | "move" => fetch(&tokens[1..], first == "move")?,
        "close" if second == "all" => Statement::Close(None),
        "close" => Statement::Close(Some(name(tokens.get(1))?)),
        "deallocate" => {
            let last = tokens.last();
            if word(last) == "all" {
                Statement::Deallocate(None)
            } else {
                Statement::Deallocate(Some(name(last)?))
            }
        }
        "insert" | "update" | "delete" | "merge" | "truncate" | "create" | "drop" | "alter"
        | "grant" | "revoke" | "comment" | "vacuum" | "analyze" | "reindex" | "cluster"
        | "refresh" | "lock" | "notify" | "do" | "call" | "import" | "security" | "reassign" => {
            return Err(read_only(&first.to_uppercase()));
        }
        "copy" => {
            let reads = tokens.iter().any(|token| word(Some(token)) == "to");
            let text = if reads { "COPY TO" } else { "COPY FROM" };
            return Err(if reads {
                SqlError::unsupported(text).hint("Use SELECT, or `staffetta-node export`.")
            } else {
                read_only(text)
            });
        }
        "explain" | "prepare" | "execute" | "load" | "checkpoint" => {
            return Err(SqlError::unsupported(first.to_uppercase()));
        }
        _ => {
            let shown = tokens.first().map_or_else(String::new, ToString::to_string);
            let shown: String = shown.chars().take(60).collect();
            return Err(SqlError::new(
                code::SYNTAX,
                format!("syntax error at or near \"{shown}\""),
            ));
        }
    })
}

fn query(tokens: Vec<Token>) -> Result<Box<Query>, SqlError> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens(tokens);
    let wrong = |error: sqlparser::parser::ParserError| {
        use sqlparser::parser::ParserError;
        match error {
            ParserError::RecursionLimitExceeded => {
                SqlError::new(code::TOO_COMPLEX, "the statement nests too deeply")
            }
            ParserError::ParserError(why) | ParserError::TokenizerError(why) => {
                SqlError::new(code::SYNTAX, format!("syntax error: {why}"))
            }
        }
    };
    let query = parser.parse_query().map_err(wrong)?;
    match parser.peek_token().token {
        Token::EOF => Ok(query),
        token => Err(SqlError::new(code::SYNTAX, format!("syntax error at or near \"{token}\""))),
    }
}

fn set(tokens: &[Token]) -> Result<Statement, SqlError> {
    let mut rest = tokens;
    if matches!(word(rest.first()).as_str(), "session" | "local") && rest.len() > 1 {
        rest = &rest[1..];
    }
    let first = word(rest.first());
    match first.as_str() {
        "transaction" | "characteristics" | "constraints" => return Ok(Statement::Nothing("SET")),
        "role" | "authorization" => {
            return Err(SqlError::new("42501", "permission denied to become another user"));
        }
        "names" => return Ok(Statement::Set("client_encoding".to_owned(), value(&rest[1..]))),
        "time" => {
            return Ok(Statement::Set(
                "timezone".to_owned(),
                value(rest.get(2..).unwrap_or_default()),
            ));
        }
        _ => {}
    }
    let at = rest.iter().position(|token| *token == Token::Eq || word(Some(token)) == "to");
    let Some(at) = at.filter(|at| *at > 0) else {
        return Err(SqlError::new(code::SYNTAX, "syntax error: SET name = value"));
    };
    let name: String = rest[..at].iter().map(ToString::to_string).collect();
    Ok(Statement::Set(name.to_lowercase(), value(&rest[at + 1..])))
}

fn value(tokens: &[Token]) -> String {
    let text = |token: &Token| match token {
        Token::SingleQuotedString(text) => text.clone(),
        Token::Word(word) => word.value.clone(),
        other => other.to_string(),
    };
    tokens.iter().map(text).collect::<Vec<_>>().join("")
}

fn declare(tokens: Vec<Token>) -> Result<Statement, SqlError> {
    let name = name(tokens.get(1))?;
    let at = tokens.iter().position(|token| word(Some(token)) == "for");
    let Some(at) = at else {
        return Err(SqlError::new(code::SYNTAX, "syntax error: DECLARE name CURSOR FOR query"));
    };
    let words: Vec<_> = tokens[2..at].iter().map(|token| word(Some(token))).collect();
    if words.iter().any(|word| word == "binary") {
        return Err(SqlError::unsupported("a binary cursor"));
    }
    if !words.iter().any(|word| word == "cursor") {
        return Err(SqlError::new(code::SYNTAX, "syntax error: DECLARE name CURSOR FOR query"));
    }
    let hold = words.windows(2).any(|pair| pair == ["with", "hold"]);
    let mut rest = tokens;
    Ok(Statement::Declare { name, hold, query: query(rest.split_off(at + 1))? })
}

fn fetch(tokens: &[Token], skip: bool) -> Result<Statement, SqlError> {
    let (last, words) = tokens
        .split_last()
        .ok_or_else(|| SqlError::new(code::SYNTAX, "syntax error: FETCH count FROM name"))?;
    let name = name(Some(last))?;
    let mut count = Some(1);
    for token in words {
        match (word(Some(token)).as_str(), token) {
            ("from" | "in" | "next" | "forward", _) => {}
            ("all", _) => count = None,
            (_, Token::Number(text, _)) => {
                count = Some(text.parse().map_err(|_| {
                    SqlError::new(code::SYNTAX, "syntax error: not a count of rows")
                })?);
            }
            _ => {
                return Err(SqlError::new("55000", "cursors go forward only")
                    .hint("Declare it anew to begin again."));
            }
        }
    }
    Ok(Statement::Fetch { name, count, skip })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_writes_is_told_the_right_door() {
        for text in [
            "INSERT INTO invoices VALUES (1)",
            "update invoices set notes = 'x'",
            "DELETE FROM invoices",
            "drop table invoices",
            "CREATE TABLE x (a int)",
            "truncate invoices",
            "COPY invoices FROM STDIN",
            "GRANT ALL ON invoices TO public",
            "DO $$ begin end $$",
            "select 1; delete from invoices",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, "25006", "{text}");
            assert!(error.hint.unwrap().contains("out/"), "{text}");
        }
    }

    #[test]
    fn commands_around_queries_are_understood() {
        let one = |text: &str| {
            let mut all = parse(text).unwrap();
            assert_eq!(all.len(), 1, "{text}");
            all.remove(0)
        };
        assert_eq!(
            one("SET client_encoding TO 'UTF8'"),
            Statement::Set("client_encoding".into(), "UTF8".into())
        );
        assert_eq!(
            one("SET SESSION statement_timeout = 100"),
            Statement::Set("statement_timeout".into(), "100".into())
        );
        assert_eq!(
            one("show transaction isolation level"),
            Statement::Show("transaction_isolation".into())
        );
        let fetch = |count, skip| Statement::Fetch { name: "c".into(), count, skip };
        assert_eq!(one("FETCH 10 FROM c"), fetch(Some(10), false));
        assert_eq!(one("fetch forward all in \"c\""), fetch(None, false));
        assert_eq!(one("MOVE c"), fetch(Some(1), true));
        assert!(matches!(
            one("declare \"SQL_CUR1\" cursor with hold for select 1"),
            Statement::Declare { hold: true, .. }
        ));
        assert_eq!(parse(";; ").unwrap(), []);
        assert_eq!(parse("fetch backward 1 from c").unwrap_err().code, "55000");
        for text in
            ["selec 1", "select 1 from", "select 'a", "set x", "declare c for select 1", "\u{0}"]
        {
            assert_eq!(parse(text).unwrap_err().code, "42601", "{text}");
        }
        assert_eq!(parse(&format!("select {}1", "(".repeat(3000))).unwrap_err().code, "54001");
        assert_eq!(parse(&format!("select '{}'", "a".repeat(100_000))).unwrap_err().code, "54000");
    }
}
