import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.security.Security;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

/**
 * Usage: java Tls.java (https-url suite-or-version)...
 *
 * What a server that speaks TLS must do for Java's: pages, a large body and events, by a
 * suite of TLS 1.3 or by a version. Keys change after each 64 KiB that are sent. No
 * connection receives as much: until the server's next key comes, Java asks for it with
 * every record that it reads, and servers of crypto/tls's rules take no more than 16 in a row.
 */
public class Tls {
    public static void main(String[] args) throws Exception {
        Security.setProperty("jdk.tls.keyLimits",
            "AES/GCM/NoPadding KeyUpdate 2^16, ChaCha20-Poly1305 KeyUpdate 2^16");
        for (int i = 0; i < args.length; i += 2) {
            serve(args[i], args[i + 1]);
            System.out.println("served " + args[i + 1]);
        }
        System.exit(0);
    }

    static void serve(String url, String by) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Trusting()}, null);
        SSLParameters parameters = context.getDefaultSSLParameters();
        if (by.startsWith("TLS_")) {
            parameters.setProtocols(new String[] {"TLSv1.3"});
            parameters.setCipherSuites(new String[] {by});
        } else {
            parameters.setProtocols(new String[] {by});
        }
        HttpClient client = HttpClient.newBuilder().sslContext(context).sslParameters(parameters)
            .connectTimeout(Duration.ofSeconds(10)).build();

        String body = "0123456789".repeat(30_000);
        for (int i = 0; i < 3; i++) {
            is(get(client, url + "/page?java").startsWith("page java by "));
            is(get(client, url + "/socket.io/?EIO=4&transport=polling").startsWith("0{"));
            is(get(client, url + "/large/10000").length() == 10_000);
            String sum = client.send(request(url + "/sum").POST(HttpRequest.BodyPublishers.ofString(body)).build(),
                BodyHandlers.ofString()).body();
            is(sum.startsWith("sum 300000 ") && sum.endsWith(" <nil>\n"));
        }

        body = body.substring(0, 5_000);
        Messages messages = new Messages();
        WebSocket ws = client.newWebSocketBuilder().connectTimeout(Duration.ofSeconds(10))
            .buildAsync(URI.create(url.replace("https", "wss") + "/socket.io/?EIO=4&transport=websocket"), messages)
            .get(10, TimeUnit.SECONDS);
        is(messages.next().startsWith("0{"));
        send(ws, "40");
        is(messages.next().startsWith("40{"));
        for (int i = 0; i < 5; i++) {
            send(ws, "42" + i + "[\"echo\",\"" + body + "\"]");
            is(messages.next().equals("43" + i + "[\"" + body + "\"]"));
        }
        send(ws, "42[\"tell\",\"all\"]");
        is(messages.next().equals("42[\"told\",\"all\"]"));
        ws.sendClose(WebSocket.NORMAL_CLOSURE, "").get(10, TimeUnit.SECONDS);
    }

    static void send(WebSocket ws, String text) throws Exception {
        ws.sendText(text, true).get(10, TimeUnit.SECONDS);
    }

    static HttpRequest.Builder request(String url) {
        return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(10));
    }

    static String get(HttpClient client, String url) throws Exception {
        return client.send(request(url).build(), BodyHandlers.ofString()).body();
    }

    static void is(boolean so) {
        if (!so) {
            throw new AssertionError();
        }
    }

    /** The messages that a WebSocket has received. */
    static class Messages implements WebSocket.Listener {
        private final LinkedBlockingQueue<String> queue = new LinkedBlockingQueue<>();
        private final StringBuilder begun = new StringBuilder();

        @Override
        public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
            begun.append(data);
            if (last) {
                queue.add(begun.toString());
                begun.setLength(0);
            }
            ws.request(1);
            return null;
        }

        String next() throws InterruptedException {
            String message = queue.poll(10, TimeUnit.SECONDS);
            is(message != null);
            return message;
        }
    }

    /** Any certificate will do. */
    static class Trusting extends X509ExtendedTrustManager {
        @Override
        public void checkClientTrusted(X509Certificate[] c, String a, java.net.Socket s) {}

        @Override
        public void checkServerTrusted(X509Certificate[] c, String a, java.net.Socket s) {}

        @Override
        public void checkClientTrusted(X509Certificate[] c, String a, SSLEngine e) {}

        @Override
        public void checkServerTrusted(X509Certificate[] c, String a, SSLEngine e) {}

        @Override
        public void checkClientTrusted(X509Certificate[] c, String a) {}

        @Override
        public void checkServerTrusted(X509Certificate[] c, String a) {}

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
