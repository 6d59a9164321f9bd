# What a donor and a recipient read, in English. Every language has every key; a test compares them.
title = Your request about your data
number = Request number
right = What you asked for
received = Received on
due = We answer by
article = Article of the General Data Protection Regulation
access = a copy of your data and how they are used
rectification = correction of your data
erasure = erasure of your data
restriction = that your data are not used for now
portability = your data in a form for machines
objection = that your data are not used for certain purposes
open = We are working on your request. You need to do nothing more unless we ask you.
identity = We must be sure that it is you who asks. Please show us as you did when you gave your data.
extended = It takes longer than a month, because the request is complex. We answer by the day above.
closed = We have done what you asked for.
refused = We cannot do what you asked for:
identity-refusal = we could not make sure that it is you who asks
unfounded = the request is manifestly unfounded
excessive = the request is excessive
legal-duty = a law obliges us to keep the data
research = erasure would make the research impossible; the justification is on record and you may see it
others = it would harm the rights of others
duplicate = You asked for the same before; we answer that request.
taken-back = You took the request back.
done = What was done
export = your data and your consent history were handed over
correct = the corrected record was taken in
order-erasure = the erasure was ordered; nothing opens your data any more
destroy-key = the key of your data was destroyed, in a way that no backup brings it back
remove-copies = sealed copies and work tables were removed
forget-records = what our records say about you was removed
restrict = the restriction is on record; nothing opens your data
object = your objection is on record
tell-recipients = recipients of your data were told
published = Published versions that may hold a row made from your data; what others have downloaded cannot be called back
complaint = You may complain to the supervisory authority and go to court. It costs you nothing to ask us.

# Report after a withdrawal
report-title = What happened after you changed your mind
report-account = Your account
report-withdrawn = You withdrew on
report-level = How far
no-contact = we do not contact you any more
no-new-collection = and we take in nothing new
no-further-use = and we begin no further use; what is in a published data set may stay in its next versions
leave-next-versions = and we leave you out of the next versions
report-not-withdrawn = You have not withdrawn.
report-stopped = What stopped
stopped-contact = We do not contact you, except to answer what you ask.
stopped-collect = Nothing new of yours is taken in.
stopped-use = Your record is opened for nothing new.
stopped-republish = The next versions are without you.
report-nothing-stopped = Nothing stopped.
report-uses-after = { $count ->
    [0] Since then your record was opened for no use.
    [one] Since then your record was opened once for a use.
   *[other] Since then your record was opened { $count } times for a use.
  }
report-removed = What was removed
removed-version = { $dataset } { $version } is not served any more since { $day }.
removed-by = In its place is { $version }, without you.
report-nothing-removed = Nothing had to be removed yet.
report-waiting = What waits for the next version
waiting-version = { $dataset } { $version } may hold a row made from your data. The next version is without you. It comes when enough people joined or left together, so that nobody can find you by comparing versions.
report-told = Who was told
told-line = { $recipient }, for { $dataset }: told on { $day }
told-confirmed = { $recipient }, for { $dataset }: told on { $day }, and confirmed
report-nobody-told = There was nobody to tell.
report-kept = What could not be called back
kept-version = { $dataset } { $version }, published on { $day }: copies that others downloaded.
kept-unknown = { $dataset } { $version }, published on { $day }: it is not known any more whether it holds a row made from your data.
report-nothing-kept = Nothing of yours was published.

# Letters to those who got data
recipient-subject = Data that you got: { $dataset }
recipient-erasure = A person whose data may be in { $dataset } had them erased (GDPR Art. 17).
recipient-rectification = A person whose data may be in { $dataset } had them corrected (GDPR Art. 16). Please take the next version.
recipient-restriction = A person whose data may be in { $dataset } had their use restricted (GDPR Art. 18).
recipient-superseded = Version { $version } of { $dataset } is not served any more, because people whose data were in it withdrew.
recipient-taken-down = Version { $version } of { $dataset } is not served any more.
recipient-successor = Please use version { $version } instead, and delete your copies of the old one.
recipient-delete = Please delete your copies, and stop using what you made from them where you can.
recipient-confirm = Please confirm until { $day } that you have done so. Who does not confirm gets no further data.
recipient-id = Number of this notice: { $id }. If it reaches you twice, it is the same one.
