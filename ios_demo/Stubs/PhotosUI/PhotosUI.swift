// Stand-in, not Apple's: signatures to type-check against. Nothing here picks a photo.
@_exported import SwiftUI

public struct PHPickerFilter: Sendable {
    public static let images = PHPickerFilter()
}
public struct PhotosPickerItem: Hashable, Sendable {
    public enum EncodingDisambiguationPolicy: Sendable { case automatic, current, compatible }
    public func loadTransferable<Item: Transferable & Sendable>(
        type: Item.Type
    ) async throws -> Item? { nil }
}
public struct PhotosPicker: Leaf {
    public init<Content: View>(
        selection: Binding<PhotosPickerItem?>, matching: PHPickerFilter?,
        preferredItemEncoding: PhotosPickerItem.EncodingDisambiguationPolicy,
        @ViewBuilder label: () -> Content
    ) {}
}
