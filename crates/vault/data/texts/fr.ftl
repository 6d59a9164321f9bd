# Ce que lisent les donneurs et les destinataires, en français. Chaque clé est dans chaque langue ; un test les compare.
title = Votre demande au sujet de vos données
number = Numéro de la demande
right = Ce que vous avez demandé
received = Reçue le
due = Nous répondons au plus tard le
article = Article du règlement général sur la protection des données
access = une copie de vos données et la manière dont elles sont utilisées
rectification = la rectification de vos données
erasure = l'effacement de vos données
restriction = que vos données ne soient pas utilisées pour l'instant
portability = vos données sous une forme lisible par machine
objection = que vos données ne soient pas utilisées pour certaines finalités
open = Nous traitons votre demande. Vous n'avez rien d'autre à faire, sauf si nous vous le demandons.
identity = Nous devons être sûrs que c'est bien vous. Veuillez vous identifier comme lors du don de vos données.
extended = Il faudra plus d'un mois, car la demande est complexe. Nous répondons au plus tard le jour indiqué ci-dessus.
closed = Nous avons fait ce que vous avez demandé.
refused = Nous ne pouvons pas faire ce que vous avez demandé :
identity-refusal = nous n'avons pas pu nous assurer que c'est bien vous
unfounded = la demande est manifestement infondée
excessive = la demande est excessive
legal-duty = une loi nous oblige à conserver les données
research = l'effacement rendrait la recherche impossible ; la justification est consignée et vous pouvez la consulter
others = cela porterait atteinte aux droits d'autrui
duplicate = Vous avez déjà demandé la même chose ; nous répondons à cette demande-là.
taken-back = Vous avez retiré la demande.
done = Ce qui a été fait
export = vos données et l'historique de vos consentements ont été remis
correct = le dossier rectifié a été enregistré
order-erasure = l'effacement a été ordonné ; plus rien n'ouvre vos données
destroy-key = la clé de vos données a été détruite de sorte qu'aucune sauvegarde ne la ramène
remove-copies = les copies scellées et les tables de travail ont été supprimées
forget-records = ce que nos registres disent de vous a été supprimé
restrict = la limitation est consignée ; rien n'ouvre vos données
object = votre opposition est consignée
tell-recipients = les destinataires de vos données ont été informés
published = Versions publiées qui peuvent contenir une ligne tirée de vos données ; ce que d'autres ont téléchargé ne peut être rappelé
complaint = Vous pouvez déposer une plainte auprès de l'autorité de contrôle et saisir un tribunal. Nous demander ne vous coûte rien.

# Rapport après un retrait
report-title = Ce qui s'est passé depuis que vous avez changé d'avis
report-account = Votre compte
report-withdrawn = Vous avez retiré votre consentement le
report-level = Jusqu'où
no-contact = nous ne vous contactons plus
no-new-collection = et nous n'enregistrons rien de nouveau
no-further-use = et nous ne commençons aucune nouvelle utilisation ; ce qui est dans un jeu publié peut rester dans ses versions suivantes
leave-next-versions = et nous vous laissons hors des versions suivantes
report-not-withdrawn = Vous n'avez pas retiré votre consentement.
report-stopped = Ce qui a cessé
stopped-contact = Nous ne vous contactons plus, sauf pour répondre à vos demandes.
stopped-collect = Rien de nouveau n'est enregistré sur vous.
stopped-use = Votre dossier n'est ouvert pour rien de nouveau.
stopped-republish = Les versions suivantes sont sans vous.
report-nothing-stopped = Rien n'a cessé.
report-uses-after = { $count ->
    [0] Depuis, votre dossier n'a été ouvert pour aucune utilisation.
    [one] Depuis, votre dossier a été ouvert une fois pour une utilisation.
   *[other] Depuis, votre dossier a été ouvert { $count } fois pour une utilisation.
  }
report-removed = Ce qui a été retiré
removed-version = { $dataset } { $version } n'est plus proposé depuis le { $day }.
removed-by = À sa place se trouve { $version }, sans vous.
report-nothing-removed = Rien n'a encore dû être retiré.
report-waiting = Ce qui attend la version suivante
waiting-version = { $dataset } { $version } peut contenir une ligne tirée de vos données. La version suivante est sans vous. Elle vient quand assez de personnes sont arrivées ou parties ensemble, pour que personne ne puisse vous trouver en comparant les versions.
report-told = Qui a été informé
told-line = { $recipient }, pour { $dataset } : informé le { $day }
told-confirmed = { $recipient }, pour { $dataset } : informé le { $day }, et a confirmé
report-nobody-told = Il n'y avait personne à informer.
report-kept = Ce qui n'a pas pu être rappelé
kept-version = { $dataset } { $version }, publié le { $day } : les copies que d'autres ont téléchargées.
kept-unknown = { $dataset } { $version }, publié le { $day } : on ne sait plus s'il contient une ligne tirée de vos données.
report-nothing-kept = Rien de vous n'a été publié.

# Lettres à ceux qui ont reçu des données
recipient-subject = Données que vous avez reçues : { $dataset }
recipient-erasure = Une personne dont les données peuvent être dans { $dataset } les a fait effacer (RGPD, art. 17).
recipient-rectification = Une personne dont les données peuvent être dans { $dataset } les a fait rectifier (RGPD, art. 16). Veuillez prendre la version suivante.
recipient-restriction = Une personne dont les données peuvent être dans { $dataset } en a fait limiter l'utilisation (RGPD, art. 18).
recipient-superseded = La version { $version } de { $dataset } n'est plus proposée, car des personnes dont les données y étaient ont retiré leur consentement.
recipient-taken-down = La version { $version } de { $dataset } n'est plus proposée.
recipient-successor = Veuillez utiliser la version { $version } à sa place et supprimer vos copies de l'ancienne.
recipient-delete = Veuillez supprimer vos copies et, si possible, ne plus utiliser ce que vous en avez fait.
recipient-confirm = Veuillez confirmer jusqu'au { $day } que vous l'avez fait. Qui ne confirme pas ne reçoit plus de données.
recipient-id = Numéro de cet avis : { $id }. S'il vous parvient deux fois, c'est le même.
