// pgjdbc through the pooler: its prepare threshold, batches, cursors, autosave, COPY, metadata, cancel.
// The connection comes from the PG* environment. Prints `clients=N` at its end; any failure is an exception.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;

public class Client {
    static final int CLIENTS = 8;

    interface Work {
        void run(int number, Connection connection) throws Exception;
    }

    static Connection connect(String options) throws SQLException {
        String url = String.format("jdbc:postgresql://%s:%s/%s?%s", System.getenv("PGHOST"),
            System.getenv("PGPORT"), System.getenv("PGDATABASE"), options);
        return DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    static void allAtOnce(String options, Work work) throws Exception {
        CyclicBarrier together = new CyclicBarrier(CLIENTS);
        ExecutorService threads = Executors.newFixedThreadPool(CLIENTS);
        List<Future<?>> running = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            int number = n;
            running.add(threads.submit(() -> {
                try (Connection connection = connect(options)) {
                    together.await(60, TimeUnit.SECONDS);
                    work.run(number, connection);
                }
                return null;
            }));
        }
        for (Future<?> one : running) {
            one.get(90, TimeUnit.SECONDS);
        }
        threads.shutdown();
    }

    static void check(boolean truth, String what) {
        if (!truth) {
            throw new AssertionError(what);
        }
    }

    static int ask(PreparedStatement statement, int value) throws SQLException {
        statement.setInt(1, value);
        try (ResultSet rows = statement.executeQuery()) {
            check(rows.next(), "no row");
            return rows.getInt(1);
        }
    }

    // Unnamed for the first executions, named on the server from then on; binary from then on, too.
    static void preparesAfterAFewExecutions(int number, Connection connection) throws Exception {
        try (PreparedStatement one = connection.prepareStatement("SELECT ? + 1");
                PreparedStatement two = connection.prepareStatement("SELECT ? * " + number)) {
            for (int step = 0; step < 30; step++) {
                check(ask(one, step) == step + 1, "one");
                check(ask(two, step) == step * number, "two");
                check(one.getMetaData().getColumnCount() == 1, "metadata");
            }
        }
        try (ResultSet tables = connection.getMetaData().getTables(null, "public", "jdbc", null)) {
            check(tables.next() && !tables.next(), "the catalogue");
        }
    }

    static void transactions(int number, Connection connection) throws Exception {
        connection.setAutoCommit(false);
        String insert = "INSERT INTO jdbc (client, step) VALUES (?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(insert)) {
            for (int step = 0; step < 10; step++) {
                for (int row = 0; row < 20; row++) {
                    statement.setInt(1, number);
                    statement.setInt(2, row);
                    statement.addBatch();
                }
                check(statement.executeBatch().length == 20, "batch");
                if (step % 2 == 0) {
                    connection.commit();
                } else {
                    connection.rollback();
                }
            }
        }
        try (PreparedStatement count =
                connection.prepareStatement("SELECT count(*)::int FROM jdbc WHERE client = ?")) {
            check(ask(count, number) == 100, "rows kept");
        }
        connection.commit();
    }

    static void autosaveKeepsTransactions(int number, Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement good = connection.prepareStatement("SELECT ?::int");
                PreparedStatement bad = connection.prepareStatement("SELECT 1 / ?::int")) {
            for (int step = 0; step < 15; step++) {
                try {
                    ask(bad, 0);
                    throw new AssertionError("no error");
                } catch (SQLException error) {
                    check(error.getSQLState().equals("22012"), error.toString());
                }
                check(ask(good, step) == step, "the transaction lives");
            }
        }
        connection.commit();
    }

    static void cursors(int number, Connection connection) throws Exception {
        connection.setAutoCommit(false);
        String series = "SELECT ? + n FROM generate_series(1, 1000) n";
        for (int round = 0; round < 6; round++) {
            try (PreparedStatement statement = connection.prepareStatement(series)) {
                statement.setFetchSize(70);
                statement.setInt(1, number);
                int expected = number;
                try (ResultSet rows = statement.executeQuery()) {
                    while (rows.next()) {
                        check(rows.getInt(1) == ++expected, "row " + expected);
                    }
                }
                check(expected == number + 1000, "rows");
            }
            connection.commit();
        }
    }

    static void copies(int number, Connection connection) throws Exception {
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        String rows = (200 + number) + "\t1\n" + (200 + number) + "\t2\n";
        check(copy.copyIn("COPY jdbc FROM STDIN", new StringReader(rows)) == 2, "copy in");
        StringWriter back = new StringWriter();
        copy.copyOut("COPY (SELECT * FROM jdbc WHERE client = " + (200 + number) + ") TO STDOUT", back);
        check(back.toString().equals(rows), back.toString());
    }

    static void aTimeoutCancelsItsOwnQuery(int number, Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            if (number % 2 == 1) {
                for (int step = 0; step < 20; step++) {
                    statement.executeQuery("SELECT pg_sleep(0.01)").close();
                }
                return;
            }
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery("SELECT pg_sleep(60)");
                throw new AssertionError("not cancelled");
            } catch (SQLException error) {
                check(error.getSQLState().equals("57014"), error.toString());
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?")) {
            check(ask(statement, number) == number, "the session lives");
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc (client int, step int)");
        }
        for (String options : List.of("", "prepareThreshold=1", "preferQueryMode=simple", "binaryTransfer=false")) {
            allAtOnce(options, Client::preparesAfterAFewExecutions);
        }
        allAtOnce("", Client::transactions);
        allAtOnce("autosave=always&prepareThreshold=2", Client::autosaveKeepsTransactions);
        allAtOnce("", Client::cursors);
        allAtOnce("reWriteBatchedInserts=true", Client::copies);
        allAtOnce("", Client::aTimeoutCancelsItsOwnQuery);
        System.out.println("clients=" + CLIENTS);
    }
}
