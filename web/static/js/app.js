// The page: makes its parts, and joins them.

import { Chat, INITIAL } from "./chat.js";
import { setUpBanner, setUpComposer } from "./composer.js";
import { setUpConversations } from "./conversations.js";
import { ask } from "./dialogs.js";
import { byId, el, icon, setText } from "./dom.js";
import { setUpDrop, taker } from "./drop.js";
import { setUpInspect } from "./inspect.js";
import { notify, setUpMenu, setUpPanel, setUpSidebar } from "./layout.js";
import { setUpMemory } from "./memory.js";
import { present, setUpGroup } from "./group.js";
import { setUpMessages } from "./messages.js";
import { setUpPersona } from "./persona.js";
import { setUpScene } from "./scene.js";
import { setUpSettings } from "./settings.js";
import { setUpShortcuts } from "./shortcuts.js";
import { Reader, canSpeak, setUpDictation } from "./speech.js";
import { titleOf } from "./state.js";
import { token } from "./storage.js";
import { createStore } from "./store.js";
import { setUpTheme } from "./theme.js";
import { setUpUser, usualUser } from "./user.js";

const socketUrl = new URL("chat", location.href);
socketUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
socketUrl.hash = socketUrl.search = "";

const store = createStore(INITIAL);
const chat = new Chat({
  store,
  notify,
  url: socketUrl.href,
  askToken: async () => {
    // one's own phone is asked once; a desktop may be anybody's
    byId("token-keep").checked = matchMedia("(pointer: coarse), (display-mode: standalone)").matches;
    const given = await ask("token", "token-text");
    return given && { token: given, keep: byId("token-keep").checked };
  },
  autoSuggest: () => settings.autoSuggest(),
  usualUser,
  wanted: () => location.hash.slice(1),
});

setUpTheme();
const sidebar = setUpSidebar();
const panel = setUpPanel((name) => {
  if (name === "inspect") inspect.refresh();
  if (name === "you") {
    memory.refresh();
    user.refresh();
    byId("signed-in").hidden = token.get() === null;
  }
  if (name === "persona") scene.refresh();
});
const inspect = setUpInspect({ store, chat, panel });
const memory = setUpMemory({ store, chat, panel, notify });
const group = setUpGroup({ store, chat, notify });
const scene = setUpScene({ store, chat, panel, notify, group, opened });
const user = setUpUser({ store, chat, panel, notify });
byId("sign-out").addEventListener("click", () => {
  token.forget();
  location.reload(); // what the page shows is another's from here on
});
const reader = canSpeak() ? new Reader() : null;
const messages = setUpMessages({ store, chat, inspect: (id) => inspect.show(id), reader });
const composer = setUpComposer({ store, chat, editLast });
const settings = setUpSettings({ store, chat });
const persona = setUpPersona({ store, chat, notify });
const take = taker({ notify, conversation: (file) => conversations.bring(file), card: scene.take, book: scene.takeBook });
const conversations = setUpConversations({ store, chat, notify, startNew, opened, take });
setUpDrop(take);
setUpBanner({ store, chat });
setUpDictation({ notify });
setUpMenu({
  rename: conversations.rename,
  delete: conversations.remove,
  "export-json": () => conversations.exportAs("json"),
  "export-text": () => conversations.exportAs("text"),
});

function startNew() {
  chat.startNew();
  persona.draw();
  opened();
}

/** A conversation was chosen: on a phone the list makes room, and one can write. */
function opened() {
  sidebar.close();
  focusComposer();
}

/** Not where that would open a keyboard on the screen. */
function focusComposer() {
  if (!matchMedia("(pointer: coarse)").matches) composer.focus();
}

function editLast() {
  const last = chat.view.messages.filter((message) => message.role === "user").at(-1);
  if (!last || chat.writing !== null) return false;
  messages.edit(last.id);
  return true;
}

function branch(direction) {
  const last = chat.view.messages.at(-1)?.siblings[direction];
  if (last && chat.writing === null) chat.do("switch", { message: last });
  return Boolean(last);
}

// -- title, welcome, address -------------------------------------------------------------------------

let shownWelcome = null;

store.subscribe(({ view, draft, server, opening }, before) => {
  if (view === before.view && draft === before.draft && server === before.server && opening === before.opening)
    return;
  const fresh = view.conversation === null;
  const who = chat.persona;
  const names = fresh ? "" : present(view.scene).map((one) => one.name).join(", ");
  const title = fresh ? "New chat" : titleOf(view);
  setText(byId("title"), title);
  setText(byId("subtitle"), [names || who.name || who.sentences[0], server?.model].filter(Boolean).join(" · "));
  document.title = fresh ? "convai" : `${title} – convai`;
  byId("open-menu").hidden = fresh;
  const welcome = byId("welcome");
  welcome.hidden = opening !== null || view.messages.length > 0 || store.get().outbox.length > 0;
  if (!welcome.hidden && who !== shownWelcome) {
    shownWelcome = who;
    setText(byId("welcome-title"), who.name ? `Say hi to ${who.name}` : "Say hi");
    byId("welcome-avatar").replaceChildren(who.name ? [...who.name][0].toUpperCase() : icon("logo"));
    byId("welcome-sentences").replaceChildren(...who.sentences.map((text) => el("li", { dir: "auto", text })));
  }
  byId("welcome-shuffle").hidden = !fresh;
  if (!before.view || view.conversation === before.view.conversation) return;
  const hash = fresh ? "" : `#${view.conversation}`;
  if (location.hash !== hash && !(fresh && opening)) history.replaceState(null, "", hash || location.pathname);
});

byId("new-chat").addEventListener("click", startNew);
byId("welcome-shuffle").addEventListener("click", () => persona.draw());
byId("welcome-edit").addEventListener("click", () => panel.show("persona"));
byId("keys").addEventListener("click", () => byId("shortcuts").showModal());
byId("show-shortcuts").addEventListener("click", () => byId("shortcuts").showModal());
addEventListener("hashchange", () => {
  const id = location.hash.slice(1);
  if (id) chat.open(id);
  else startNew();
});

const ACTIONS = {
  new: startNew,
  search: () => {
    sidebar.open();
    byId("search").select();
  },
  message: () => composer.focus(),
  regenerate: () => chat.writing === null && chat.do("regenerate"),
  continue: () => chat.writing === null && chat.do("continue"),
  undo: () => chat.writing === null && chat.do("undo"),
  suggest: () => composer.suggest(),
  edit: editLast,
  previous: () => branch("previous"),
  next: () => branch("next"),
  persona: () => panel.toggle("persona"),
  you: () => panel.toggle("you"),
  settings: () => panel.toggle("settings"),
  inspect: () => panel.toggle("inspect"),
  shortcuts: () => byId("shortcuts").showModal(),
  escape: () => {
    reader?.stop();
    if (chat.writing !== null) chat.do("stop", { message: chat.writing });
    else if (sidebar.isOpen()) sidebar.close();
    else if (panel.current()) panel.close();
    else return false;
  },
};
setUpShortcuts((action) => ACTIONS[action]() !== false);

const wanted = location.hash.slice(1);
if (/^[\w-]{1,64}$/.test(wanted)) chat.open(wanted);
else persona.draw();
chat.connection.connect();
focusComposer();
