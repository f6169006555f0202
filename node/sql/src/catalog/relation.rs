//! Every relation of the catalogue: name, columns (`name:type`), and the view's text, if it is one.

/// `pg_catalog`.
pub(super) const PG: &[(&str, &str, &str)] = &[
    ("pg_namespace", "oid:oid nspname:name nspowner:oid nspacl:_text", ""),
    (
        "pg_class",
        "oid:oid relname:name relnamespace:oid reltype:oid reloftype:oid relowner:oid relam:oid relfilenode:oid reltablespace:oid relpages:int4 reltuples:float8 relallvisible:int4 reltoastrelid:oid relhasindex:bool relisshared:bool relpersistence:char relkind:char relnatts:int2 relchecks:int2 relhasrules:bool relhastriggers:bool relhassubclass:bool relrowsecurity:bool relforcerowsecurity:bool relispopulated:bool relreplident:char relispartition:bool relrewrite:oid relacl:_text reloptions:_text relpartbound:text",
        "",
    ),
    (
        "pg_attribute",
        "attrelid:oid attname:name atttypid:oid attstattarget:int4 attlen:int2 attnum:int2 attndims:int4 attcacheoff:int4 atttypmod:int4 attbyval:bool attalign:char attstorage:char attcompression:char attnotnull:bool atthasdef:bool atthasmissing:bool attidentity:char attgenerated:char attisdropped:bool attislocal:bool attinhcount:int4 attcollation:oid attacl:_text attoptions:_text attfdwoptions:_text",
        "",
    ),
    (
        "pg_type",
        "oid:oid typname:name typnamespace:oid typowner:oid typlen:int2 typbyval:bool typtype:char typcategory:char typispreferred:bool typisdefined:bool typdelim:char typrelid:oid typelem:oid typarray:oid typinput:name typoutput:name typreceive:name typsend:name typalign:char typstorage:char typnotnull:bool typbasetype:oid typtypmod:int4 typndims:int4 typcollation:oid typdefault:text typacl:_text",
        "",
    ),
    (
        "pg_index",
        "indexrelid:oid indrelid:oid indnatts:int2 indnkeyatts:int2 indisunique:bool indnullsnotdistinct:bool indisprimary:bool indisexclusion:bool indimmediate:bool indisclustered:bool indisvalid:bool indcheckxmin:bool indisready:bool indislive:bool indisreplident:bool indkey:int2vector indcollation:text indclass:text indoption:int2vector indexprs:text indpred:text",
        "",
    ),
    (
        "pg_constraint",
        "oid:oid conname:name connamespace:oid contype:char condeferrable:bool condeferred:bool convalidated:bool conrelid:oid contypid:oid conindid:oid conparentid:oid confrelid:oid confupdtype:char confdeltype:char confmatchtype:char conislocal:bool coninhcount:int4 connoinherit:bool conkey:_int2 confkey:_int2 conbin:text",
        "",
    ),
    ("pg_description", "objoid:oid classoid:oid objsubid:int4 description:text", ""),
    (
        "pg_am",
        "oid:oid amname:name amhandler:name amtype:char",
        "SELECT 2, 'heap', 'heap_tableam_handler', 't' UNION ALL SELECT 403, 'btree', 'bthandler', 'i'",
    ),
    (
        "pg_database",
        "oid:oid datname:name datdba:oid encoding:int4 datlocprovider:char datistemplate:bool datallowconn:bool datconnlimit:int4 datfrozenxid:oid datminmxid:oid dattablespace:oid datcollate:text datctype:text daticulocale:text datcollversion:text datacl:_text",
        "SELECT 16000, database_name(), 10, 6, 'c', 0, 1, -1, 0, 0, 1663, 'C', 'C', NULL, NULL, NULL",
    ),
    (
        "pg_roles",
        "rolname:name rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool rolcanlogin:bool rolreplication:bool rolconnlimit:int4 rolpassword:text rolvaliduntil:timestamptz rolbypassrls:bool rolconfig:_text oid:oid",
        "SELECT session_name(), 0, 1, 0, 0, 1, 0, -1, '********', NULL, 0, NULL, 10",
    ),
    (
        "pg_authid",
        "oid:oid rolname:name rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool rolcanlogin:bool rolreplication:bool rolbypassrls:bool rolconnlimit:int4",
        "SELECT 10, session_name(), 0, 1, 0, 0, 1, 0, 0, -1",
    ),
    (
        "pg_user",
        "usename:name usesysid:oid usecreatedb:bool usesuper:bool userepl:bool usebypassrls:bool passwd:text valuntil:timestamptz useconfig:_text",
        "SELECT session_name(), 10, 0, 0, 0, 0, '********', NULL, NULL",
    ),
    (
        "pg_settings",
        "name:text setting:text unit:text category:text short_desc:text extra_desc:text context:text vartype:text source:text min_val:text max_val:text enumvals:_text boot_val:text reset_val:text pending_restart:bool",
        "SELECT column1, column2, NULL, 'Preset', '', NULL, 'internal', 'string', 'default', NULL, NULL, NULL, column2, column2, 0 FROM (VALUES ('server_version', '15.0'), ('server_version_num', '150000'), ('max_index_keys', '32'), ('server_encoding', 'UTF8'), ('client_encoding', 'UTF8'), ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'), ('standard_conforming_strings', 'on'), ('search_path', 'public'), ('default_transaction_read_only', 'on'), ('max_identifier_length', '63'))",
    ),
    (
        "pg_tables",
        "schemaname:name tablename:name tableowner:name tablespace:name hasindexes:bool hasrules:bool hastriggers:bool rowsecurity:bool",
        "SELECT n.nspname, c.relname, session_name(), NULL, c.relhasindex, 0, 0, 0 FROM \"pg_catalog.pg_class\" c JOIN \"pg_catalog.pg_namespace\" n ON n.oid = c.relnamespace WHERE c.relkind = 'r'",
    ),
    (
        "pg_indexes",
        "schemaname:name tablename:name indexname:name tablespace:name indexdef:text",
        "SELECT 'public', t.relname, c.relname, NULL, 'CREATE UNIQUE INDEX ' || c.relname || ' ON public.' || t.relname || ' USING btree (' || (SELECT group_concat(attname, ', ') FROM \"pg_catalog.pg_attribute\" WHERE attrelid = c.oid) || ')' FROM \"pg_catalog.pg_index\" i JOIN \"pg_catalog.pg_class\" c ON c.oid = i.indexrelid JOIN \"pg_catalog.pg_class\" t ON t.oid = i.indrelid",
    ),
    (
        "pg_tablespace",
        "oid:oid spcname:name spcowner:oid spcacl:_text spcoptions:_text",
        "SELECT 1663, 'pg_default', 10, NULL, NULL",
    ),
    (
        "pg_collation",
        "oid:oid collname:name collnamespace:oid collowner:oid collprovider:char collisdeterministic:bool collencoding:int4 collcollate:text collctype:text colliculocale:text",
        "SELECT 100, 'default', 11, 10, 'd', 1, -1, NULL, NULL, NULL UNION ALL SELECT 950, 'C', 11, 10, 'c', 1, -1, 'C', 'C', NULL",
    ),
    (
        "pg_language",
        "oid:oid lanname:name lanowner:oid lanispl:bool lanpltrusted:bool",
        "SELECT 14, 'sql', 10, 0, 1",
    ),
    (
        "pg_stat_activity",
        "datid:oid datname:name pid:int4 usesysid:oid usename:name application_name:text client_addr:text backend_start:timestamptz state:text query:text",
        "SELECT 16000, database_name(), 0, 10, session_name(), '', NULL, NULL, 'active', ''",
    ),
    ("pg_attrdef", "oid:oid adrelid:oid adnum:int2 adbin:text", ""),
    ("pg_enum", "oid:oid enumtypid:oid enumsortorder:float8 enumlabel:name", ""),
    (
        "pg_range",
        "rngtypid:oid rngsubtype:oid rngmultitypid:oid rngcollation:oid rngsubopc:oid",
        "",
    ),
    (
        "pg_proc",
        "oid:oid proname:name pronamespace:oid proowner:oid prolang:oid prokind:char proretset:bool provolatile:char pronargs:int2 prorettype:oid proargtypes:text proallargtypes:_oid proargmodes:_char proargnames:_text prosrc:text",
        "",
    ),
    ("pg_views", "schemaname:name viewname:name viewowner:name definition:text", ""),
    (
        "pg_matviews",
        "schemaname:name matviewname:name matviewowner:name tablespace:name hasindexes:bool ispopulated:bool definition:text",
        "",
    ),
    ("pg_inherits", "inhrelid:oid inhparent:oid inhseqno:int4 inhdetachpending:bool", ""),
    (
        "pg_trigger",
        "oid:oid tgrelid:oid tgparentid:oid tgname:name tgfoid:oid tgtype:int2 tgenabled:char tgisinternal:bool tgconstrrelid:oid tgconstraint:oid tgdeferrable:bool tginitdeferred:bool tgnargs:int2",
        "",
    ),
    (
        "pg_policy",
        "oid:oid polname:name polrelid:oid polcmd:char polpermissive:bool polroles:_oid polqual:text polwithcheck:text",
        "",
    ),
    (
        "pg_publication",
        "oid:oid pubname:name pubowner:oid puballtables:bool pubinsert:bool pubupdate:bool pubdelete:bool pubtruncate:bool pubviaroot:bool",
        "",
    ),
    ("pg_publication_rel", "oid:oid prpubid:oid prrelid:oid prqual:text prattrs:int2vector", ""),
    ("pg_publication_namespace", "oid:oid pnpubid:oid pnnspid:oid", ""),
    (
        "pg_statistic_ext",
        "oid:oid stxrelid:oid stxname:name stxnamespace:oid stxowner:oid stxstattarget:int4 stxkeys:int2vector stxkind:_char stxexprs:text",
        "",
    ),
    (
        "pg_extension",
        "oid:oid extname:name extowner:oid extnamespace:oid extrelocatable:bool extversion:text",
        "",
    ),
    ("pg_foreign_table", "ftrelid:oid ftserver:oid ftoptions:_text", ""),
    (
        "pg_foreign_server",
        "oid:oid srvname:name srvowner:oid srvfdw:oid srvtype:text srvversion:text srvacl:_text srvoptions:_text",
        "",
    ),
    (
        "pg_foreign_data_wrapper",
        "oid:oid fdwname:name fdwowner:oid fdwhandler:oid fdwvalidator:oid fdwacl:_text fdwoptions:_text",
        "",
    ),
    (
        "pg_rewrite",
        "oid:oid rulename:name ev_class:oid ev_type:char ev_enabled:char is_instead:bool",
        "",
    ),
    (
        "pg_depend",
        "classid:oid objid:oid objsubid:int4 refclassid:oid refobjid:oid refobjsubid:int4 deptype:char",
        "",
    ),
    ("pg_shdescription", "objoid:oid classoid:oid description:text", ""),
    ("pg_seclabel", "objoid:oid classoid:oid objsubid:int4 provider:text label:text", ""),
    (
        "pg_partitioned_table",
        "partrelid:oid partstrat:char partnatts:int2 partdefid:oid partattrs:int2vector",
        "",
    ),
    (
        "pg_sequence",
        "seqrelid:oid seqtypid:oid seqstart:int8 seqincrement:int8 seqmax:int8 seqmin:int8 seqcache:int8 seqcycle:bool",
        "",
    ),
    ("pg_sequences", "schemaname:name sequencename:name sequenceowner:name data_type:regtype", ""),
    (
        "pg_operator",
        "oid:oid oprname:name oprnamespace:oid oprowner:oid oprkind:char oprleft:oid oprright:oid oprresult:oid",
        "",
    ),
    (
        "pg_opclass",
        "oid:oid opcmethod:oid opcname:name opcnamespace:oid opcowner:oid opcfamily:oid opcintype:oid opcdefault:bool",
        "",
    ),
    (
        "pg_cast",
        "oid:oid castsource:oid casttarget:oid castfunc:oid castcontext:char castmethod:char",
        "",
    ),
    ("pg_aggregate", "aggfnoid:oid aggkind:char aggtransfn:oid aggfinalfn:oid", ""),
    (
        "pg_event_trigger",
        "oid:oid evtname:name evtevent:name evtowner:oid evtfoid:oid evtenabled:char evttags:_text",
        "",
    ),
    (
        "pg_default_acl",
        "oid:oid defaclrole:oid defaclnamespace:oid defaclobjtype:char defaclacl:_text",
        "",
    ),
    ("pg_auth_members", "roleid:oid member:oid grantor:oid admin_option:bool", ""),
    ("pg_user_mapping", "oid:oid umuser:oid umserver:oid umoptions:_text", ""),
    ("pg_conversion", "oid:oid conname:name connamespace:oid conowner:oid", ""),
    ("pg_locks", "locktype:text database:oid relation:oid pid:int4 mode:text granted:bool", ""),
    (
        "pg_prepared_xacts",
        "transaction:oid gid:text prepared:timestamptz owner:name database:name",
        "",
    ),
    (
        "pg_stat_user_tables",
        "relid:oid schemaname:name relname:name seq_scan:int8 n_live_tup:int8",
        "",
    ),
    ("pg_stat_ssl", "pid:int4 ssl:bool version:text cipher:text bits:int4", ""),
];

const TABLES_VIEW: &str = "SELECT database_name(), 'public', relname, 'BASE TABLE', NULL, NULL, NULL, NULL, NULL, 'NO', 'NO', NULL FROM \"pg_catalog.pg_class\" WHERE relkind = 'r' AND relnamespace = 2200 UNION ALL SELECT database_name(), n.nspname, relname, 'VIEW', NULL, NULL, NULL, NULL, NULL, 'NO', 'NO', NULL FROM \"pg_catalog.pg_class\" c JOIN \"pg_catalog.pg_namespace\" n ON n.oid = c.relnamespace WHERE relnamespace <> 2200 AND relkind IN ('r', 'v')";
const COLUMNS_VIEW: &str = "SELECT database_name(), n.nspname, c.relname, a.attname, a.attnum, NULL, CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END, format_type(a.atttypid), NULL, NULL, CASE a.atttypid WHEN 23 THEN 32 WHEN 20 THEN 64 WHEN 21 THEN 16 END, CASE WHEN a.atttypid IN (20, 21, 23) THEN 2 WHEN a.atttypid = 1700 THEN 10 END, CASE WHEN a.atttypid IN (20, 21, 23) THEN 0 END, CASE a.atttypid WHEN 1082 THEN 0 WHEN 1184 THEN 6 END, NULL, NULL, database_name(), 'pg_catalog', t.typname, 'NO', 'NEVER', 'NO', a.attnum FROM \"pg_catalog.pg_attribute\" a JOIN \"pg_catalog.pg_class\" c ON c.oid = a.attrelid JOIN \"pg_catalog.pg_namespace\" n ON n.oid = c.relnamespace JOIN \"pg_catalog.pg_type\" t ON t.oid = a.atttypid WHERE c.relkind IN ('r', 'v')";
const CONSTRAINTS_VIEW: &str = "SELECT database_name(), 'public', o.conname, database_name(), 'public', c.relname, 'PRIMARY KEY', 'NO', 'NO', 'YES' FROM \"pg_catalog.pg_constraint\" o JOIN \"pg_catalog.pg_class\" c ON c.oid = o.conrelid";
const KEYS_VIEW: &str = "SELECT database_name(), 'public', o.conname, database_name(), 'public', c.relname, a.attname, k.attnum, NULL FROM \"pg_catalog.pg_constraint\" o JOIN \"pg_catalog.pg_class\" c ON c.oid = o.conrelid JOIN \"pg_catalog.pg_attribute\" k ON k.attrelid = o.conindid JOIN \"pg_catalog.pg_attribute\" a ON a.attrelid = o.conrelid AND a.attname = k.attname";

/// `information_schema`.
pub(super) const INFORMATION: &[(&str, &str, &str)] = &[
    (
        "schemata",
        "catalog_name:name schema_name:name schema_owner:name default_character_set_catalog:name default_character_set_schema:name default_character_set_name:name sql_path:varchar",
        "SELECT database_name(), nspname, session_name(), NULL, NULL, NULL, NULL FROM \"pg_catalog.pg_namespace\"",
    ),
    (
        "tables",
        "table_catalog:name table_schema:name table_name:name table_type:varchar self_referencing_column_name:name reference_generation:varchar user_defined_type_catalog:name user_defined_type_schema:name user_defined_type_name:name is_insertable_into:varchar is_typed:varchar commit_action:varchar",
        TABLES_VIEW,
    ),
    (
        "columns",
        "table_catalog:name table_schema:name table_name:name column_name:name ordinal_position:int4 column_default:varchar is_nullable:varchar data_type:varchar character_maximum_length:int4 character_octet_length:int4 numeric_precision:int4 numeric_precision_radix:int4 numeric_scale:int4 datetime_precision:int4 interval_type:varchar domain_name:name udt_catalog:name udt_schema:name udt_name:name is_identity:varchar is_generated:varchar is_updatable:varchar dtd_identifier:name",
        COLUMNS_VIEW,
    ),
    (
        "table_constraints",
        "constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name table_name:name constraint_type:varchar is_deferrable:varchar initially_deferred:varchar enforced:varchar",
        CONSTRAINTS_VIEW,
    ),
    (
        "key_column_usage",
        "constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name table_name:name column_name:name ordinal_position:int4 position_in_unique_constraint:int4",
        KEYS_VIEW,
    ),
    (
        "constraint_column_usage",
        "table_catalog:name table_schema:name table_name:name column_name:name constraint_catalog:name constraint_schema:name constraint_name:name",
        "SELECT database_name(), 'public', c.relname, k.attname, database_name(), 'public', o.conname FROM \"pg_catalog.pg_constraint\" o JOIN \"pg_catalog.pg_class\" c ON c.oid = o.conrelid JOIN \"pg_catalog.pg_attribute\" k ON k.attrelid = o.conindid",
    ),
    (
        "views",
        "table_catalog:name table_schema:name table_name:name view_definition:varchar check_option:varchar is_updatable:varchar",
        "",
    ),
    (
        "referential_constraints",
        "constraint_catalog:name constraint_schema:name constraint_name:name unique_constraint_catalog:name unique_constraint_schema:name unique_constraint_name:name match_option:varchar update_rule:varchar delete_rule:varchar",
        "",
    ),
    (
        "routines",
        "specific_catalog:name specific_schema:name specific_name:name routine_catalog:name routine_schema:name routine_name:name routine_type:varchar data_type:varchar",
        "",
    ),
    (
        "triggers",
        "trigger_catalog:name trigger_schema:name trigger_name:name event_manipulation:varchar event_object_table:name",
        "",
    ),
    (
        "sequences",
        "sequence_catalog:name sequence_schema:name sequence_name:name data_type:varchar",
        "",
    ),
    (
        "table_privileges",
        "grantor:name grantee:name table_catalog:name table_schema:name table_name:name privilege_type:varchar is_grantable:varchar with_hierarchy:varchar",
        "SELECT session_name(), session_name(), database_name(), 'public', relname, 'SELECT', 'NO', 'NO' FROM \"pg_catalog.pg_class\" WHERE relkind = 'r' AND relnamespace = 2200",
    ),
    (
        "character_sets",
        "character_set_catalog:name character_set_schema:name character_set_name:name default_collate_name:name",
        "SELECT NULL, NULL, 'UTF8', 'C'",
    ),
];
