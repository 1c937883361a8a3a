// Usage: java -cp 'lib/*' Driver.java compat <url> <mode> via=<url> control=<host:port>
//
// Runs the cases of the group "compat" with socket.io-client-java and prints one
// JSON object a line for each, as the JavaScript driver does.

import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.json.JSONArray;
import org.json.JSONObject;

public class Driver {
  static final String UNICODE = "é ß ñ Привет 你好 \uD83D\uDE00 \u2028 \"quoted\" \\ \n\t";
  static final byte[] BYTES = {0, 1, 2, 127, (byte) 128, (byte) 254, (byte) 255, 0x1e, 10, 13};

  static String url, mode, via, control;
  static final List<Socket> open = new ArrayList<>();

  interface Case {
    void run() throws Exception;
  }

  static Socket connect(String base, boolean reconnection) throws Exception {
    IO.Options o = new IO.Options();
    o.forceNew = true;
    o.reconnection = reconnection;
    o.reconnectionDelay = 10;
    o.transports = mode.equals("upgrade") ? new String[] {"polling", "websocket"} : new String[] {mode};
    Socket s = IO.socket(URI.create(base), o);
    open.add(s);
    BlockingQueue<Object[]> connected = queue(s, Socket.EVENT_CONNECT);
    s.connect();
    take(connected, "connect");
    return s;
  }

  static Socket connect() throws Exception {
    return connect(url, false);
  }

  static BlockingQueue<Object[]> queue(Socket s, String event) {
    BlockingQueue<Object[]> q = new LinkedBlockingQueue<>();
    s.on(event, q::add);
    return q;
  }

  static Object[] take(BlockingQueue<Object[]> q, String what) throws Exception {
    Object[] args = q.poll(8, TimeUnit.SECONDS);
    if (args == null) throw new Exception("no \"" + what + "\" within 8 s");
    return args;
  }

  static Object[] exchange(Socket s, String event, String answer, Object... args) throws Exception {
    BlockingQueue<Object[]> q = new ArrayBlockingQueue<>(1);
    s.once(answer, q::add);
    s.emit(event, args);
    return take(q, answer);
  }

  static Object[] ask(Socket s, String event, Object... args) throws Exception {
    BlockingQueue<Object[]> q = new ArrayBlockingQueue<>(1);
    s.emit(event, args, (Ack) q::add);
    return take(q, "answer to " + event);
  }

  // transport waits until a socket is on the transport that the mode ends with.
  static String transport(Socket s) throws Exception {
    String want = mode.equals("polling") ? "polling" : "websocket";
    String is = "";
    for (int i = 0; i < 200 && !is.equals(want); i++) {
      is = ((JSONObject) ask(s, "whoami")[0]).getString("transport");
      if (!is.equals(want)) Thread.sleep(20);
    }
    same(is, want);
    return is;
  }

  // plain makes values comparable.
  static Object plain(Object v) throws Exception {
    if (v instanceof byte[]) return "bytes " + Arrays.toString((byte[]) v);
    if (v instanceof Object[]) v = Arrays.asList((Object[]) v);
    if (v instanceof List) {
      List<Object> list = new ArrayList<>();
      for (Object x : (List<?>) v) list.add(plain(x));
      return list;
    }
    if (v instanceof JSONArray) {
      List<Object> list = new ArrayList<>();
      for (int i = 0; i < ((JSONArray) v).length(); i++) list.add(plain(((JSONArray) v).get(i)));
      return list;
    }
    if (v instanceof JSONObject) {
      Map<String, Object> map = new java.util.TreeMap<>();
      for (java.util.Iterator<?> it = ((JSONObject) v).keys(); it.hasNext(); ) {
        String k = (String) it.next();
        map.put(k, plain(((JSONObject) v).get(k)));
      }
      return map;
    }
    if (v instanceof Number) return ((Number) v).doubleValue();
    if (v == JSONObject.NULL) return null;
    return v;
  }

  static void same(Object got, Object want) throws Exception {
    Object g = plain(got), w = plain(want);
    if (!(g == null ? w == null : g.equals(w))) throw new Exception("got " + g + ", want " + w);
  }

  static void echoes(Object... args) throws Exception {
    Socket s = connect();
    same(exchange(s, "echo", "echo", args), args);
    same(ask(s, "echo", args), args);
    transport(s);
    same(exchange(s, "echo", "echo", args), args);
  }

  static JSONObject json(String text) throws Exception {
    return new JSONObject(text);
  }

  // cut ends every TCP connection through the proxy.
  static void cut() throws Exception {
    String[] at = control.split(":");
    try (java.net.Socket c = new java.net.Socket(at[0], Integer.parseInt(at[1]))) {
      while (c.getInputStream().read() >= 0) {}
    }
  }

  static Map<String, Case> cases() {
    Map<String, Case> all = new LinkedHashMap<>();
    all.put("identity", () -> {
      Socket s = connect();
      JSONObject who = (JSONObject) ask(s, "whoami")[0];
      same(who.getString("id"), s.id());
      same(who.getString("namespace"), "/");
      transport(s);
    });
    all.put("echo-text", () -> echoes("hello", ""));
    all.put("echo-unicode", () -> echoes(UNICODE, new JSONObject().put(UNICODE, UNICODE)));
    all.put("echo-json", () -> echoes(JSONObject.NULL, true, 0, -1.5, 1e21, new JSONArray(), new JSONObject(),
        json("{\"a\":{\"b\":[null,{\"c\":\"\"}]}}")));
    all.put("echo-100000-characters", () -> echoes("x".repeat(50_000) + "é".repeat(50_000)));
    all.put("echo-binary", () -> echoes((Object) BYTES));
    all.put("echo-binary-nested", () -> {
      JSONObject nested = new JSONObject().put("a", BYTES)
          .put("b", new JSONArray().put(BYTES).put(new JSONObject().put("c", "deep".getBytes())));
      echoes(nested, UNICODE, "last".getBytes());
    });
    all.put("ack-to-server", () -> {
      Socket s = connect();
      s.on("question", (args) -> {
        List<Object> answer = new ArrayList<>();
        answer.add("answer");
        answer.addAll(Arrays.asList(args).subList(0, args.length - 1));
        ((Ack) args[args.length - 1]).call(answer.toArray());
      });
      same(exchange(s, "ask", "answered", 1, BYTES), new Object[] {"answer", 1, BYTES});
      same(ask(s, "ask-and-wait", 2), new Object[] {"answer", 2});
    });
    all.put("burst-across-upgrade", () -> {
      Socket s = connect();
      BlockingQueue<Object[]> got = queue(s, "echo");
      List<Object> sent = new ArrayList<>();
      for (int i = 0; i < 300; i++) {
        Object x = i % 10 == 0 ? new JSONObject().put("at", i).put("data", new byte[] {(byte) i}) : (Object) i;
        sent.add(x);
        s.emit("echo", x);
      }
      for (Object x : sent) same(take(got, "echo")[0], x);
    });
    all.put("rooms-and-broadcast", () -> {
      Socket a = connect(), b = connect();
      BlockingQueue<Object[]> gotA = queue(a, "room"), gotB = queue(b, "room");
      ask(a, "join", "compat-java");
      b.emit("room", "compat-java", new JSONObject().put("bytes", BYTES));
      same(take(gotA, "room"), new Object[] {new JSONObject().put("bytes", BYTES)});
      ask(b, "echo", "marker");
      same(gotB.size(), 0);
      BlockingQueue<Object[]> all2 = queue(a, "bcast");
      b.emit("bcast", "to all java");
      same(take(all2, "bcast"), new Object[] {"to all java"});
    });
    all.put("namespace", () -> {
      Socket s = connect();
      Socket other = s.io().socket("/custom");
      BlockingQueue<Object[]> connected = queue(other, Socket.EVENT_CONNECT);
      other.connect();
      take(connected, "connect");
      JSONObject who = (JSONObject) ask(other, "whoami")[0];
      same(who.getString("id"), other.id());
      same(who.getString("namespace"), "/custom");
      same(exchange(other, "echo", "echo", (Object) BYTES), new Object[] {BYTES});
      other.disconnect();
      same(ask(s, "echo", "still here"), new Object[] {"still here"});
    });
    all.put("middleware-refuses", () -> {
      Socket s = connect();
      Socket refused = s.io().socket("/refused");
      BlockingQueue<Object[]> error = queue(refused, Socket.EVENT_CONNECT_ERROR);
      refused.connect();
      JSONObject e = (JSONObject) take(error, "connect_error")[0];
      same(e.getJSONObject("data"), json("{\"code\":401,\"hint\":\"say please\"}"));
      same(ask(s, "echo", "still here"), new Object[] {"still here"});
    });
    all.put("server-disconnects", () -> {
      Socket s = connect();
      transport(s);
      BlockingQueue<Object[]> gone = queue(s, Socket.EVENT_DISCONNECT);
      s.emit("kick", true);
      same(take(gone, "disconnect")[0], "io server disconnect");
    });
    all.put("reconnects-after-cut", () -> {
      Socket s = connect(via, true);
      transport(s);
      String before = s.id();
      BlockingQueue<Object[]> again = queue(s, Socket.EVENT_CONNECT);
      cut();
      take(again, "connect");
      if (s.id().equals(before)) throw new Exception("the same id: " + before);
      same(exchange(s, "echo", "echo", "again", BYTES), new Object[] {"again", BYTES});
    });
    return all;
  }

  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    url = args[1];
    mode = args[2];
    for (String a : Arrays.asList(args).subList(3, args.length)) {
      if (a.startsWith("via=")) via = a.substring(4);
      if (a.startsWith("control=")) control = a.substring(8);
    }
    for (Map.Entry<String, Case> c : cases().entrySet()) {
      JSONObject line = new JSONObject().put("case", c.getKey());
      try {
        c.getValue().run();
        line.put("ok", true);
      } catch (Throwable e) {
        line.put("ok", false).put("why", String.valueOf(e));
      }
      for (Socket s : open) {
        s.io().reconnection(false);
        s.disconnect();
      }
      open.clear();
      out.println(line);
    }
    System.exit(0);
  }
}
