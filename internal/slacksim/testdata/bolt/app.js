// A Bolt app that uses everything opsbot uses. A Go test starts it against the
// simulator, acts as the people, and watches what the app does. One line on
// stdout, "ready", says that the socket is open.
const { App, LogLevel } = require('@slack/bolt');

const { SLACK_API_URL: slackApiUrl, SLACK_BOT_TOKEN: token, SLACK_APP_TOKEN: appToken } = process.env;
const app = new App({ token, appToken, socketMode: true, logLevel: LogLevel.ERROR, clientOptions: { slackApiUrl } });

const plain = (text) => ({ type: 'plain_text', text });
const modal = (title, more) => ({
  type: 'modal',
  callback_id: 'form',
  title: plain(title),
  submit: plain('Save'),
  notify_on_close: true,
  blocks: [{ type: 'input', block_id: 'name', label: plain('Name'), element: { type: 'plain_text_input', action_id: 'in' } }],
  ...more,
});

// A slash command: an ephemeral answer in the ack, a message with buttons, a
// pin, a reaction, a file, an ephemeral message, and the response_url.
app.command('/runbook', async ({ command, ack, client, respond }) => {
  await ack({ response_type: 'ephemeral', text: `on it: ${command.text}` });
  const channel = command.channel_id;
  const posted = await client.chat.postMessage({
    channel,
    text: 'press a button',
    blocks: [
      { type: 'header', text: plain('Bolt') },
      { type: 'section', text: { type: 'mrkdwn', text: '*press* a button' } },
      {
        type: 'actions',
        block_id: 'buttons',
        elements: [
          { type: 'button', action_id: 'go', style: 'primary', value: 'v', text: plain('Go') },
          { type: 'button', action_id: 'form', text: plain('Form') },
        ],
      },
    ],
    metadata: { event_type: 'run', event_payload: { id: '7' } },
  });
  await client.reactions.add({ channel, timestamp: posted.ts, name: 'eyes' });
  await client.pins.add({ channel, timestamp: posted.ts });
  await client.chat.postEphemeral({ channel, user: command.user_id, text: 'only for you' });
  await client.files.uploadV2({ channel_id: channel, thread_ts: posted.ts, filename: 'out.txt', title: 'Output', content: 'hello', initial_comment: 'the output' });
  await respond({ response_type: 'in_channel', text: 'through the response_url' });
});

// A button: the message is replaced, and a reply goes into its thread.
app.action('go', async ({ ack, body, client, action }) => {
  await ack();
  const { id: channel } = body.channel;
  const { ts } = body.message;
  await client.chat.update({ channel, ts, text: `done ${action.value} by <@${body.user.id}>`, blocks: [] });
  await client.chat.postMessage({ channel, thread_ts: ts, text: 'in the thread' });
});

// A modal: opened by a button, refused once, then updated, then pushed onto.
app.action('form', async ({ ack, body, client }) => {
  await ack();
  await client.views.open({ trigger_id: body.trigger_id, view: modal('First') });
});
app.view('form', async ({ ack, view, body, client }) => {
  const { value } = view.state.values.name.in;
  switch (value) {
    case 'bad':
      return ack({ response_action: 'errors', errors: { name: 'not bad' } });
    case 'update':
      return ack({ response_action: 'update', view: modal('Second') });
    case 'push':
      return ack({ response_action: 'push', view: modal('Third') });
    default:
      await ack();
      return client.chat.postMessage({ channel: body.user.id, text: `saved ${value}` });
  }
});
app.view({ callback_id: 'form', type: 'view_closed' }, async ({ ack, body, client }) => {
  await ack();
  await client.chat.postMessage({ channel: body.user.id, text: `closed, cleared: ${body.is_cleared}` });
});

// Shortcuts, events and the Home tab.
app.shortcut('incident_declare', async ({ ack, shortcut, client }) => {
  await ack();
  await client.views.open({ trigger_id: shortcut.trigger_id, view: modal('Declare') });
});
app.event('app_mention', async ({ event, say }) => {
  await say({ thread_ts: event.ts, text: `hello <@${event.user}>` });
});
app.event('app_home_opened', async ({ event, client }) => {
  await client.views.publish({ user_id: event.user, view: { type: 'home', blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'welcome home' } }] } });
});
app.event('reaction_added', async ({ event, client }) => {
  if (event.reaction === 'tada') await client.chat.postMessage({ channel: event.item.channel, thread_ts: event.item.ts, text: 'thanks' });
});

process.on('SIGTERM', () => app.stop().then(() => process.exit(0)));
app.start().then(() => console.log('ready'));
