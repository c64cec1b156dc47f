// pgjdbc logs in as each line of the file says, and prints what came of it, a line each. See tests/clients/logins.rs.

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Base64;
import java.util.Properties;
import java.util.logging.Level;
import java.util.logging.Logger;

public class Logins {
    private static final Logger DRIVER = Logger.getLogger("org.postgresql");

    public static void main(String[] arguments) throws Exception {
        // Without a certificate of its own it looks for the developer's.
        System.setProperty("user.home", "/nonexistent");
        DRIVER.setLevel(Level.OFF);
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            System.out.println(outcome(line.split("\t", -1)).replaceAll("\\s+", " "));
        }
    }

    // It wants keys without the lines of PEM around them.
    static String unwrapped(String pem) throws IOException {
        String text = Files.readString(Path.of(pem)).replaceAll("-----[A-Z ]+-----|\\s", "");
        return Files.write(Path.of(pem + ".pk8"), Base64.getDecoder().decode(text)).toString();
    }

    static String outcome(String[] settings) throws IOException {
        // Java has no Unix sockets for it.
        if (settings[0].startsWith("/")) {
            return "not tried";
        }
        Properties properties = new Properties();
        properties.setProperty("user", settings[3]);
        properties.setProperty("password", settings[4]);
        properties.setProperty("sslmode", settings[5]);
        properties.setProperty("sslrootcert", settings[6]);
        if (!settings[7].isEmpty()) {
            properties.setProperty("sslcert", settings[7]);
            properties.setProperty("sslkey", unwrapped(settings[8]));
        }
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
