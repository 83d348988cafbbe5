"""Makes vectors.json: requests as the providers make them, by an implementation
that has nothing in common with the package but the providers' description.
It needs the package cryptography, and was run once."""
import base64, hashlib, json, struct
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def cbc(key, iv, plain, block):
    padding = block - len(plain) % block
    c = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return c.update(plain + bytes([padding]) * padding) + c.finalize()


def tencent(token, aes, receiver, message, timestamp, nonce):
    key = base64.b64decode(aes + "=")
    plain = b"0123456789abcdef" + struct.pack(">I", len(message.encode())) + message.encode() + receiver.encode()
    encrypted = base64.b64encode(cbc(key, key[:16], plain, 32)).decode()
    signature = hashlib.sha1("".join(sorted([token, timestamp, nonce, encrypted])).encode()).hexdigest()
    return {"encrypted": encrypted, "signature": signature, "timestamp": timestamp, "nonce": nonce}


def feishu(aes, message, timestamp, nonce):
    iv = bytes(range(16))
    body = json.dumps({"encrypt": base64.b64encode(iv + cbc(hashlib.sha256(aes.encode()).digest(), iv, message.encode(), 16)).decode()})
    return {"body": body, "signature": hashlib.sha256((timestamp + nonce + aes + body).encode()).hexdigest(),
            "timestamp": timestamp, "nonce": nonce}


TOKEN, AES, NOW = "push-token-1", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "1795341600"
wechat = ("<xml><AppId><![CDATA[wxcomponent1]]></AppId><CreateTime>1795341600</CreateTime><InfoType><![CDATA[%s]]></InfoType>"
          "<ComponentVerifyTicket><![CDATA[ticket@@@wechat-1]]></ComponentVerifyTicket></xml>")
wecom = ("<xml><SuiteId><![CDATA[ww4asffe99e54c0f]]></SuiteId><InfoType> <![CDATA[%s]]></InfoType><TimeStamp>1795341600</TimeStamp>"
         "<SuiteTicket><![CDATA[%s]]></SuiteTicket></xml>")
event = {"ts": "1795341600.1", "uuid": "u", "token": TOKEN, "type": "event_callback",
         "event": {"app_id": "cli_1", "app_ticket": "ticket-feishu-1", "type": "app_ticket"}}
second = {"schema": "2.0", "header": {"event_id": "e", "token": TOKEN, "event_type": "app_ticket", "app_id": "cli_1"},
          "event": {"app_ticket": "ticket-feishu-2"}}
print(json.dumps({
    "token": TOKEN, "aes": AES,
    "wechat": {
        "ticket": tencent(TOKEN, AES, "wxcomponent1", wechat % "component_verify_ticket", NOW, "n1"),
        "other event": tencent(TOKEN, AES, "wxcomponent1", wechat % "unauthorized", NOW, "n2"),
        "another app": tencent(TOKEN, AES, "wxcomponent2", wechat % "component_verify_ticket", NOW, "n3"),
        "no xml": tencent(TOKEN, AES, "wxcomponent1", "hello", NOW, "n4"),
        "a document type": tencent(TOKEN, AES, "wxcomponent1", "<!DOCTYPE xml [<!ENTITY a \"b\">]>" + wechat % "&a;", NOW, "n5"),
    },
    "wecom": {
        "ticket": tencent(TOKEN, AES, "ww4asffe99e54c0f", wecom % ("suite_ticket", "ticket-wecom-1"), NOW, "n1"),
        "no ticket": tencent(TOKEN, AES, "ww4asffe99e54c0f", wecom % ("suite_ticket", ""), NOW, "n2"),
        "echo": tencent(TOKEN, AES, "wwcorp", "1616140317555161061", NOW, "n3"),
    },
    "feishu": {
        "ticket": feishu(AES, json.dumps(event), NOW, "n1"),
        "second form": feishu(AES, json.dumps(second), NOW, "n2"),
        "challenge": feishu(AES, json.dumps({"challenge": "c-1", "token": TOKEN, "type": "url_verification"}), NOW, "n3"),
        "other event": feishu(AES, json.dumps(dict(event, event={"type": "app_open", "app_id": "cli_1"})), NOW, "n4"),
        "another app": feishu(AES, json.dumps(dict(event, event=dict(event["event"], app_id="cli_2"))), NOW, "n5"),
        "wrong token": feishu(AES, json.dumps(dict(event, token="x")), NOW, "n6"),
    },
}, indent=1, sort_keys=True))
