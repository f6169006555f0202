import java.math.BigDecimal;
import java.sql.*;
import java.util.*;

/** What a Java program of an ERP does, and what tools such as DBeaver ask through the driver. */
public class JdbcCheck {
    static void same(Object expected, Object found) {
        if (!Objects.equals(expected, found)) throw new AssertionError("expected " + expected + ", found " + found);
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> all = new ArrayList<>();
        while (rows.next()) all.add(rows.getString(name));
        return all;
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://localhost:" + args[0] + "/erp?sslmode=require";
        try (Connection db = DriverManager.getConnection(url, "02038490237", "pencil case")) {
            DatabaseMetaData about = db.getMetaData();
            same("PostgreSQL", about.getDatabaseProductName());
            same(true, column(about.getSchemas(), "TABLE_SCHEM").contains("public"));
            same(Arrays.asList("attachments", "contracts", "invoice_lines", "invoices", "originals", "outcomes", "payments", "profile", "sync_status", "vat_summary"),
                column(about.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME"));
            try (ResultSet columns = about.getColumns(null, "public", "invoices", "total")) {
                same(true, columns.next());
                same("numeric", columns.getString("TYPE_NAME"));
                same(Types.NUMERIC, columns.getInt("DATA_TYPE"));
                same(17, columns.getInt("ORDINAL_POSITION"));
                same("YES", columns.getString("IS_NULLABLE"));
            }
            same(Arrays.asList("invoice_id", "position"), column(about.getPrimaryKeys(null, "public", "invoice_lines"), "COLUMN_NAME"));
            same(Arrays.asList(), column(about.getImportedKeys(null, "public", "invoice_lines"), "FKCOLUMN_NAME"));
            same(Arrays.asList("invoices_pkey"), column(about.getIndexInfo(null, "public", "invoices", true, true), "INDEX_NAME"));
            about.getTypeInfo().close();
            about.getCatalogs().close();
            about.getTableTypes().close();

            // Ten times, so that the driver changes to a prepared statement with binary results.
            String sql = "SELECT number, date, total, received_at, bytes, alarm, body, state FROM invoices WHERE date >= ? AND total <= ? AND number = ?";
            try (PreparedStatement statement = db.prepareStatement(sql)) {
                for (int n = 1; n <= 10; n++) {
                    statement.setDate(1, java.sql.Date.valueOf("2026-01-01"));
                    statement.setBigDecimal(2, new BigDecimal("500.5"));
                    statement.setString(3, Integer.toString(n));
                    try (ResultSet rows = statement.executeQuery()) {
                        same(true, rows.next());
                        same(Integer.toString(n), rows.getString(1));
                        same(java.sql.Date.valueOf("2026-01-" + String.format("%02d", n + 1)), rows.getDate(2));
                        same(new BigDecimal(n + ".10"), rows.getBigDecimal(3));
                        same(null, rows.getTimestamp(4));
                        same(40L, rows.getLong(5));
                        same(false, rows.getBoolean(6));
                        same(1, rows.getInt(7));
                    }
                }
                same("numeric", statement.getMetaData().getColumnTypeName(3));
            }
            try (ResultSet rows = db.createStatement().executeQuery("SELECT registered_at, total * 3, content FROM invoices i JOIN originals o ON o.document = i.document WHERE i.registered_at IS NOT NULL")) {
                same(true, rows.next());
                same(1795521600500L, rows.getTimestamp(1).getTime());
                same(new BigDecimal("3.30"), rows.getBigDecimal(2));
                same(43, rows.getBytes(3).length);
            }
            // A page at a time.
            db.setAutoCommit(false);
            try (PreparedStatement statement = db.prepareStatement("SELECT invoice_id, position FROM invoice_lines ORDER BY 1, 2")) {
                statement.setFetchSize(64);
                int count = 0;
                try (ResultSet rows = statement.executeQuery()) { while (rows.next()) count++; }
                same(2000, count);
            }
            db.commit();
            db.setAutoCommit(true);
            try {
                db.createStatement().executeUpdate("UPDATE invoices SET notes = 'x'");
                throw new AssertionError("written");
            } catch (SQLException refused) {
                same("25006", refused.getSQLState());
            }
            try (PreparedStatement slow = db.prepareStatement("SELECT count(*) FROM invoice_lines a, invoice_lines b, invoice_lines c")) {
                slow.setQueryTimeout(1);
                slow.executeQuery();
                throw new AssertionError("it ended");
            } catch (SQLException stopped) {
                same("57014", stopped.getSQLState());
            }
        }
        System.out.println("JDBC: fine");
    }
}
