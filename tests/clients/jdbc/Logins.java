// pgjdbc logs in as each line of the file says, and prints what came of it, a line each. See tests/clients/logins.rs.

import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Properties;

public class Logins {
    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            System.out.println(outcome(line.split("\t", -1)).replaceAll("\\s+", " "));
        }
    }

    static String outcome(String[] settings) {
        // Its keys are in another format.
        if (!settings[7].isEmpty()) {
            return "not tried";
        }
        Properties properties = new Properties();
        properties.setProperty("user", settings[3]);
        properties.setProperty("password", settings[4]);
        properties.setProperty("sslmode", settings[5]);
        properties.setProperty("sslrootcert", settings[6]);
        properties.setProperty("sslcert", "/nonexistent");
        properties.setProperty("sslkey", "/nonexistent");
        properties.setProperty("gssEncMode", "disable");
        properties.setProperty("loginTimeout", "20");
        String url = String.format("jdbc:postgresql://%s:%s/%s", settings[0], settings[1], settings[2]);
        try (Connection connection = DriverManager.getConnection(url, properties);
            ResultSet result = connection.createStatement().executeQuery("SELECT 1")) {
            return result.next() && result.getInt(1) == 1 ? "let in" : "a wrong answer";
        } catch (SQLException error) {
            return error.getMessage();
        }
    }
}
