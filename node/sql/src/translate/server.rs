//! What drivers and tools ask of the server itself, and what is the answer here.

use super::{Made1, literal};
use crate::ty::Ty;

/// The answer, if `name` asks such a thing.
pub(super) fn constant(name: &str, arguments: &[Made1]) -> Option<Made1> {
    let (sql, ty) = match name {
        "version" => (
            literal(&format!("PostgreSQL 15.0 (Staffetta {})", env!("CARGO_PKG_VERSION"))),
            Ty::Text,
        ),
        "current_database" => ("database_name()".to_owned(), Ty::Name),
        "current_schemas" => ("'{pg_catalog,public}'".to_owned(), Ty::TextArray),
        "pg_get_userbyid" => ("session_name()".to_owned(), Ty::Name),
        "pg_backend_pid"
        | "pg_my_temp_schema"
        | "txid_current"
        | "pg_relation_size"
        | "pg_total_relation_size"
        | "pg_table_size"
        | "pg_indexes_size"
        | "pg_database_size"
        | "inet_server_port"
        | "age"
        | "pg_stat_get_numscans"
        | "pg_stat_get_tuples_inserted" => ("0".to_owned(), Ty::Int8),
        "pg_size_pretty" => ("'0 bytes'".to_owned(), Ty::Text),
        "pg_table_is_visible" | "pg_type_is_visible" | "pg_function_is_visible" => {
            // Those of pg_catalog and of public are; what tools hide, they hide by its schema.
            ("1".to_owned(), Ty::Bool)
        }
        "has_table_privilege" | "has_any_column_privilege" | "has_column_privilege" => {
            let asked = arguments.last().and_then(|one| one.literal.clone()).unwrap_or_default();
            let reads = asked.to_uppercase().contains("SELECT");
            (i32::from(reads).to_string(), Ty::Bool)
        }
        "has_schema_privilege" | "has_database_privilege" => {
            let asked = arguments.last().and_then(|one| one.literal.clone()).unwrap_or_default();
            (i32::from(!asked.to_uppercase().contains("CREATE")).to_string(), Ty::Bool)
        }
        "pg_is_in_recovery" => ("1".to_owned(), Ty::Bool),
        "pg_is_other_temp_schema"
        | "pg_relation_is_publishable"
        | "row_security_active"
        | "pg_has_role"
        | "pg_is_wal_replay_paused" => ("0".to_owned(), Ty::Bool),
        "array_lower" => ("1".to_owned(), Ty::Int4),
        "pg_get_expr"
        | "pg_get_viewdef"
        | "pg_get_ruledef"
        | "pg_get_triggerdef"
        | "pg_get_functiondef"
        | "pg_get_statisticsobjdef_columns"
        | "pg_get_partkeydef"
        | "pg_get_serial_sequence"
        | "pg_get_function_result"
        | "pg_get_function_arguments"
        | "pg_get_function_identity_arguments"
        | "inet_server_addr"
        | "inet_client_addr"
        | "pg_tablespace_location" => ("NULL".to_owned(), Ty::Text),
        "pg_postmaster_start_time" | "pg_conf_load_time" => {
            ("CAST(unixepoch('subsec') * 1000000 AS INTEGER)".to_owned(), Ty::Timestamptz)
        }
        _ => return None,
    };
    Some(Made1::new(sql, ty))
}
