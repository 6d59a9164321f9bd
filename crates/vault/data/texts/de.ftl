# Was Spender und Empfänger lesen, auf Deutsch. Jeder Schlüssel steht in jeder Sprache; ein Test vergleicht sie.
title = Ihr Antrag zu Ihren Daten
number = Nummer des Antrags
right = Worum Sie baten
received = Eingegangen am
due = Wir antworten bis
article = Artikel der Datenschutz-Grundverordnung
access = eine Kopie Ihrer Daten und wie sie genutzt werden
rectification = Berichtigung Ihrer Daten
erasure = Löschung Ihrer Daten
restriction = dass Ihre Daten vorerst nicht genutzt werden
portability = Ihre Daten in maschinenlesbarer Form
objection = dass Ihre Daten für bestimmte Zwecke nicht genutzt werden
open = Wir bearbeiten Ihren Antrag. Sie müssen nichts weiter tun, solange wir Sie nicht fragen.
identity = Wir müssen sicher sein, dass Sie es sind. Bitte weisen Sie sich aus wie bei der Spende Ihrer Daten.
extended = Es dauert länger als einen Monat, weil der Antrag umfangreich ist. Wir antworten bis zu dem oben genannten Tag.
closed = Wir haben getan, worum Sie baten.
refused = Wir können nicht tun, worum Sie baten:
identity-refusal = wir konnten nicht sicherstellen, dass Sie es sind
unfounded = der Antrag ist offenkundig unbegründet
excessive = der Antrag ist exzessiv
legal-duty = ein Gesetz verpflichtet uns, die Daten aufzubewahren
research = die Löschung würde die Forschung unmöglich machen; die Begründung liegt vor und Sie dürfen sie einsehen
others = es würde die Rechte anderer beeinträchtigen
duplicate = Sie haben dasselbe schon beantragt; wir beantworten jenen Antrag.
taken-back = Sie haben den Antrag zurückgenommen.
done = Was getan wurde
export = Ihre Daten und der Verlauf Ihrer Einwilligungen wurden übergeben
correct = die berichtigte Akte wurde aufgenommen
order-erasure = die Löschung wurde angeordnet; nichts öffnet Ihre Daten mehr
destroy-key = der Schlüssel Ihrer Daten wurde so vernichtet, dass ihn kein Backup zurückbringt
remove-copies = versiegelte Kopien und Arbeitstabellen wurden entfernt
forget-records = was unsere Aufzeichnungen über Sie sagen, wurde entfernt
restrict = die Einschränkung ist vermerkt; nichts öffnet Ihre Daten
object = Ihr Widerspruch ist vermerkt
tell-recipients = Empfänger Ihrer Daten wurden benachrichtigt
published = Veröffentlichte Fassungen, die eine aus Ihren Daten entstandene Zeile enthalten können; was andere heruntergeladen haben, lässt sich nicht zurückholen
complaint = Sie können sich bei der Aufsichtsbehörde beschweren und vor Gericht gehen. Uns zu fragen kostet Sie nichts.

# Bericht nach einem Widerruf
report-title = Was geschah, nachdem Sie es sich anders überlegt haben
report-account = Ihr Konto
report-withdrawn = Sie widerriefen am
report-level = Wie weit
no-contact = wir nehmen keinen Kontakt mehr mit Ihnen auf
no-new-collection = und wir nehmen nichts Neues auf
no-further-use = und wir beginnen keine weitere Nutzung; was in einem veröffentlichten Datensatz ist, darf in dessen nächsten Fassungen bleiben
leave-next-versions = und wir lassen Sie in den nächsten Fassungen weg
report-not-withdrawn = Sie haben nicht widerrufen.
report-stopped = Was aufhörte
stopped-contact = Wir nehmen keinen Kontakt mit Ihnen auf, außer um auf Ihre Fragen zu antworten.
stopped-collect = Nichts Neues von Ihnen wird aufgenommen.
stopped-use = Ihre Akte wird für nichts Neues geöffnet.
stopped-republish = Die nächsten Fassungen sind ohne Sie.
report-nothing-stopped = Nichts hörte auf.
report-uses-after = { $count ->
    [0] Seither wurde Ihre Akte für keine Nutzung geöffnet.
    [one] Seither wurde Ihre Akte einmal für eine Nutzung geöffnet.
   *[other] Seither wurde Ihre Akte { $count }-mal für eine Nutzung geöffnet.
  }
report-removed = Was entfernt wurde
removed-version = { $dataset } { $version } wird seit dem { $day } nicht mehr angeboten.
removed-by = An ihrer Stelle steht { $version }, ohne Sie.
report-nothing-removed = Es musste noch nichts entfernt werden.
report-waiting = Was auf die nächste Fassung wartet
waiting-version = { $dataset } { $version } kann eine aus Ihren Daten entstandene Zeile enthalten. Die nächste Fassung ist ohne Sie. Sie kommt, wenn genug Menschen zusammen dazugekommen oder gegangen sind, damit niemand Sie durch Vergleich der Fassungen finden kann.
report-told = Wer benachrichtigt wurde
told-line = { $recipient }, für { $dataset }: benachrichtigt am { $day }
told-confirmed = { $recipient }, für { $dataset }: benachrichtigt am { $day }, und bestätigt
report-nobody-told = Es gab niemanden zu benachrichtigen.
report-kept = Was sich nicht zurückholen ließ
kept-version = { $dataset } { $version }, veröffentlicht am { $day }: Kopien, die andere heruntergeladen haben.
kept-unknown = { $dataset } { $version }, veröffentlicht am { $day }: Ob eine aus Ihren Daten entstandene Zeile darin ist, ist nicht mehr bekannt.
report-nothing-kept = Von Ihnen wurde nichts veröffentlicht.

# Briefe an die, die Daten bekommen haben
recipient-subject = Daten, die Sie bekommen haben: { $dataset }
recipient-erasure = Eine Person, deren Daten in { $dataset } sein können, ließ sie löschen (Art. 17 DSGVO).
recipient-rectification = Eine Person, deren Daten in { $dataset } sein können, ließ sie berichtigen (Art. 16 DSGVO). Bitte nehmen Sie die nächste Fassung.
recipient-restriction = Eine Person, deren Daten in { $dataset } sein können, ließ ihre Nutzung einschränken (Art. 18 DSGVO).
recipient-superseded = Fassung { $version } von { $dataset } wird nicht mehr angeboten, weil Menschen widerrufen haben, deren Daten darin waren.
recipient-taken-down = Fassung { $version } von { $dataset } wird nicht mehr angeboten.
recipient-successor = Bitte nutzen Sie stattdessen Fassung { $version } und löschen Sie Ihre Kopien der alten.
recipient-delete = Bitte löschen Sie Ihre Kopien, und nutzen Sie, wo es geht, auch nicht weiter, was Sie daraus gemacht haben.
recipient-confirm = Bitte bestätigen Sie bis zum { $day }, dass Sie dies getan haben. Wer nicht bestätigt, bekommt keine weiteren Daten.
recipient-id = Nummer dieser Nachricht: { $id }. Kommt sie zweimal an, ist es dieselbe.
